"""The ledger in MongoDB: what every job that ended has cost, an entry each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.budgets import Scope
from core.jobs import Job
from core.outcome import Outcome
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database


class Ledger:
    """Sums of the entries; raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._entries = database["ledger"]

    def paid_by(self, scope: Scope, user_id: str, key_id: str | None, at_ms: int) -> int:
        """Return what a budget has paid of the month or day (UTC) of `at_ms`, in micro-dollars."""
        month, day = _month_of(at_ms), _day_of(at_ms)
        match scope:
            case "user":
                entries: dict[str, Any] = {"user_id": user_id, "month": month}
            case "key":
                entries = {"user_id": user_id, "month": month, "api_key_id": key_id}
            case "month":
                entries = {"month": month}
            case "day":
                entries = {"day": day}
        total = {"$group": {"_id": None, "micros": {"$sum": "$cost_micros"}}}
        with store_errors():
            found = list(self._entries.aggregate([{"$match": entries}, total]))
        return int(found[0]["micros"]) if found else 0


def to_settlement(job: Job) -> dict[str, Any]:
    """Return the ledger's entry for an ended job: what was held, and what was paid."""
    end_ms, outcome = job.finished_ms or job.spec.created_ms, job.outcome or Outcome()
    held = {"reserved_micros": job.spec.reserved_micros}
    spec = job.spec
    return (
        settlement(spec.id, spec.user_id, spec.created_ms, end_ms, outcome, spec.api_key_id) | held
    )


def settlement(
    job_id: str,
    user_id: str,
    created_ms: int,
    end_ms: int,
    outcome: Outcome,
    api_key_id: str | None = None,
) -> dict[str, Any]:
    """Return the entry of a job for which nothing was held any more.

    It stands on the budgets of the month and day (UTC) in which the job was created.
    """
    return {
        "_id": f"{job_id}:settlement",
        "kind": "settlement",
        "job_id": job_id,
        "user_id": user_id,
        "api_key_id": api_key_id,
        "month": _month_of(created_ms),
        "day": _day_of(created_ms),
        "at": datetime.fromtimestamp(end_ms / 1000, UTC),
        "reserved_micros": 0,
        "cost_micros": outcome.cost_micros,
        "baseline_micros": outcome.baseline_micros,
        "saved_by_routing_micros": outcome.savings.routing_micros,
        "saved_by_cache_micros": outcome.savings.cache_micros,
        "saved_by_prompt_cache_micros": outcome.savings.prompt_cache_micros,
    }


def _month_of(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y%m}"


def _day_of(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y%m%d}"
