"""The ledger in MongoDB: what jobs have cost, in entries that are only ever added.

A job that ended has one `settlement`. An end that Redis had lost with its last second before a
crash, and that was recorded here all the same, comes to life again, runs and is paid again: what
that cost is an entry of its own, `rerun_after_loss`, for each further end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
from pymongo import WriteConcern
from pymongo.errors import BulkWriteError

from core.budgets import Scope
from core.jobs import Job
from core.outcome import Outcome
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

logger = structlog.get_logger(__name__)

SETTLEMENT: Final = "settlement"
RERUN: Final = "rerun_after_loss"
_DUPLICATE_KEY: Final = 11000
_TOTAL: Final = {"$sum": "$cost_micros"}

Row = dict[str, Any]


class Ledger:
    """The entries; what reads them raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[Row]) -> None:
        self._entries = database.get_collection("ledger", write_concern=WriteConcern("majority"))

    def add(self, settlements: Sequence[Row]) -> None:
        """Add settlements; a repeat of the same end changes nothing, another end is a rerun.

        Raises:
            PyMongoError: MongoDB does not answer, or will never take one of them.
        """
        repeated = self.add_missing(settlements)
        if not repeated:
            return
        ids = [row["_id"] for row in repeated]
        known = {
            row["_id"]: row["at"] for row in self._entries.find({"_id": {"$in": ids}}, {"at": 1})
        }
        reruns = [_to_rerun(row) for row in repeated if _ms(known[row["_id"]]) != _ms(row["at"])]
        for row in reruns:
            logger.warning("job ran again after Redis had lost its end", job_id=row["job_id"])
        if reruns:
            self.add_missing(reruns)

    def add_missing(self, rows: Sequence[Row]) -> list[Row]:
        """Add the rows whose ids are not there yet, and return the others.

        Raises:
            PyMongoError: MongoDB does not answer, or will never take one of them.
        """
        try:
            self._entries.insert_many(list(rows), ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                raise
            return [rows[failure["index"]] for failure in failures]
        return []

    def paid_by(self, scope: Scope, user_id: str, key_id: str | None, at_ms: int) -> int:
        """Return what a budget has paid of the month or day (UTC) of `at_ms`, in micro-dollars."""
        match scope:
            case "user":
                entries: Row = {"user_id": user_id, "month": month_of(at_ms)}
            case "key":
                entries = {"user_id": user_id, "month": month_of(at_ms), "api_key_id": key_id}
            case "month":
                entries = {"month": month_of(at_ms)}
            case "day":
                entries = {"day": day_of(at_ms)}
        return self._sum(entries)

    def paid_in(self, month: str, user_id: str) -> int:
        """Return what a user's jobs of a month (yyyymm) have cost, in micro-dollars."""
        return self._sum({"user_id": user_id, "month": month})

    def _sum(self, entries: Row) -> int:
        with store_errors():
            found = list(self._entries.aggregate([{"$match": entries}, _group(None)]))
        return int(found[0]["micros"]) if found else 0

    def sums_of(self, month: str) -> dict[str, int]:
        """Return what each user's jobs of a month (yyyymm) have cost, in micro-dollars."""
        with store_errors():
            found = self._entries.aggregate([{"$match": {"month": month}}, _group("$user_id")])
            return {row["_id"]: int(row["micros"]) for row in found}

    def settlements_of(self, job_ids: Iterable[str]) -> dict[str, list[Row]]:
        """Return the entries of each of the jobs."""
        found: dict[str, list[Row]] = {}
        with store_errors():
            for row in self._entries.find({"job_id": {"$in": list(job_ids)}}):
                found.setdefault(row["job_id"], []).append(row)
        return found

    def count_reruns(self) -> int:
        """Return how many ends were paid again, ever."""
        with store_errors():
            return self._entries.count_documents({"kind": RERUN})


def to_settlement(job: Job) -> Row:
    """Return the ledger's entry for an ended job: what was held, and what was paid."""
    end_ms, outcome = job.finished_ms or job.spec.created_ms, job.outcome or Outcome()
    held = {"reserved_micros": job.spec.reserved_micros}
    spec = job.spec
    row = settlement(
        spec.id, spec.user_id, spec.created_ms, end_ms, outcome, api_key_id=spec.api_key_id
    )
    return row | held


def settlement(
    job_id: str,
    user_id: str,
    created_ms: int,
    end_ms: int,
    outcome: Outcome,
    *,
    api_key_id: str | None = None,
) -> Row:
    """Return the entry of a job for which nothing was held any more.

    It stands on the budgets of the month and day (UTC) in which the job was created.
    """
    return {
        "_id": f"{job_id}:{SETTLEMENT}",
        "kind": SETTLEMENT,
        "job_id": job_id,
        "user_id": user_id,
        "api_key_id": api_key_id,
        "month": month_of(created_ms),
        "day": day_of(created_ms),
        "at": datetime.fromtimestamp(end_ms / 1000, UTC),
        "reserved_micros": 0,
        "cost_micros": outcome.cost_micros,
        "baseline_micros": outcome.baseline_micros,
        "saved_by_routing_micros": outcome.savings.routing_micros,
        "saved_by_cache_micros": outcome.savings.cache_micros,
        "saved_by_prompt_cache_micros": outcome.savings.prompt_cache_micros,
    }


def month_of(unix_ms: int) -> str:
    """Return the calendar month (UTC) as yyyymm."""
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y%m}"


def day_of(unix_ms: int) -> str:
    """Return the calendar day (UTC) as yyyymmdd."""
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y%m%d}"


def _to_rerun(row: Row) -> Row:
    """Return the entry of a further end of a job, which its id names: a repeat is the same."""
    return row | {"_id": f"{row['job_id']}:{RERUN}:{_ms(row['at'])}", "kind": RERUN}


def _group(by: str | None) -> Row:
    return {"$group": {"_id": by, "micros": _TOTAL}}


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
