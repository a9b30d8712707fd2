"""What comparisons with the strongest tier may cost in a day, and what came of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError

from core.shadow import Comparison, RouteWorth
from storage import keys
from storage.failures import coordinator_errors, store_errors

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

#: Longer than a day, so that what began before midnight is still corrected where it counts.
_KEPT_S: Final = 2 * 86_400


class ShadowBudget:
    """Counts a day's cost (UTC) for all workers; raises CoordinatorUnavailable without Redis."""

    def __init__(self, redis: Redis, *, daily_micros: int) -> None:
        self._redis = redis
        self._daily_micros = daily_micros

    def reserve(self, micros: int) -> str | None:
        """Take the amount from today's budget and return the day; None when too little is left.

        It never grants too much; of two that come at once the last of the budget may go to neither.
        """
        day = datetime.now(UTC).strftime("%Y%m%d")
        key = keys.shadow_spend(day)
        with coordinator_errors(), self._redis.pipeline(transaction=True) as pipe:
            pipe.incrby(key, micros)
            pipe.expire(key, _KEPT_S)
            spent = pipe.execute()[0]
        if spent <= self._daily_micros:
            return day
        self.give_back(day, micros)
        return None

    def give_back(self, day: str, micros: int) -> None:
        """Return what was reserved and not spent; a negative amount was spent beyond it."""
        with coordinator_errors():
            self._redis.decrby(keys.shadow_spend(day), micros)


class Comparisons:
    """Comparisons in MongoDB; raises StoreUnavailable when it does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._shadow = database.get_collection("shadow", write_concern=WriteConcern("majority"))

    def add(self, comparison: Comparison) -> None:
        """Store a comparison; a second one of the same job changes nothing."""
        document = msgspec.to_builtins(comparison)
        job_id, at_ms = document.pop("job_id"), document.pop("at_ms")
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        with store_errors():
            try:
                self._shadow.insert_one({"_id": job_id, "at": at, **document})
            except DuplicateKeyError:
                return

    def worth_by_route(self, *, since_ms: int) -> list[RouteWorth]:
        """Return what the comparisons since then come to, the most compared route first."""
        since = datetime.fromtimestamp(since_ms / 1000, UTC)
        stages: list[dict[str, Any]] = [
            {"$match": {"at": {"$gte": since}}},
            {"$group": {"_id": {"tier": "$tier", "model": "$model"}, **_SUMS}},
            {"$sort": {"compared": -1, "_id": 1}},
        ]
        with store_errors():
            return [
                msgspec.convert(row.pop("_id") | row, RouteWorth)
                for row in self._shadow.aggregate(stages)
            ]


def _count_of(verdict: str) -> dict[str, Any]:
    return {"$sum": {"$cond": [{"$eq": ["$verdict", verdict]}, 1, 0]}}


_SUMS: Final = {
    "compared": {"$sum": 1},
    "better": _count_of("better"),
    "ties": _count_of("tie"),
    "worse": _count_of("worse"),
    "cost_micros": {"$sum": "$cost_micros"},
    "deep_cost_micros": {"$sum": "$deep_cost_micros"},
    "judging_cost_micros": {"$sum": "$judging_cost_micros"},
}
