"""What came of comparing cheaper answers with the strongest tier's, in MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError

from core.comparisons import Comparison, RouteWorth
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database


class Comparisons:
    """Comparisons in MongoDB; raises StoreUnavailable when it does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._comparisons = database.get_collection(
            "comparisons", write_concern=WriteConcern("majority")
        )

    def add(self, comparison: Comparison) -> None:
        """Store a comparison; a second one of the same job changes nothing."""
        document = msgspec.to_builtins(comparison)
        job_id, at_ms = document.pop("job_id"), document.pop("at_ms")
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        with store_errors():
            try:
                self._comparisons.insert_one({"_id": job_id, "at": at, **document})
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
                for row in self._comparisons.aggregate(stages)
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
