"""Ended jobs whose outcome cannot be kept: which, of whom, when and why, never what they hold.

Such a job still ends on record, with its status and cost and without its answer, so that it is not
taken for a lost one and done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
from bson.errors import BSONError
from msgspec import Struct
from pymongo.errors import BulkWriteError, WriteError

from core.outcome import JobError, Outcome
from core.timing import now_ms
from storage.failures import store_errors
from storage.records.alerts import RECORD_SET_ASIDE, Alerts

if TYPE_CHECKING:
    from pymongo.database import Database

logger = structlog.get_logger(__name__)

#: What a job's record says in place of its outcome.
SET_ASIDE: Final = JobError(
    "record_set_aside", "The job has ended, but its outcome could not be stored."
)
#: Beyond so many only the log tells of another one.
_MOST: Final = 10_000
_DUPLICATE_KEY: Final = 11000
#: Codes by which a server refuses a write although nothing is wrong with the document: no quorum,
#: shutting down, no primary, no rights, out of time, a conflict, a full disk.
_SERVERS_FAULTS: Final = frozenset(
    {13, 50, 64, 91, 112, 189, 262, 10107, 11600, 11602, 13435, 13436, 14031, _DUPLICATE_KEY}
)


class UnstorableDocument(Exception):
    """A batch has a document that the database will never take; names the fault's class."""


class SetAside(Struct, frozen=True, kw_only=True):
    """One job whose outcome was not kept; `error` is the class of the fault."""

    job_id: str
    user_id: str | None
    at_ms: int
    error: str


class SetAsideRecords:
    """The collection of what was set aside; raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._rows = database["set_aside"]
        self._alerts = Alerts(database)

    def add(self, job_id: str, user_id: str | None, error: str) -> None:
        """Remember the job and log it; a repeat changes nothing."""
        logger.error("record set aside; see `aether dead-letters`", job_id=job_id, error=error)
        row = {"user_id": user_id, "at": datetime.fromtimestamp(now_ms() / 1000, UTC)}
        with store_errors():
            if self._rows.estimated_document_count() < _MOST:
                row_of_job = {"$setOnInsert": {**row, "error": error}}
                added = self._rows.update_one({"_id": job_id}, row_of_job, upsert=True)
                if added.upserted_id is not None:
                    self._alerts.add(RECORD_SET_ASIDE)

    def count(self) -> int:
        """Return how many jobs were set aside."""
        with store_errors():
            return self._rows.estimated_document_count()

    def list(self, *, limit: int) -> list[SetAside]:
        """Return the latest, newest first."""
        with store_errors():
            return [
                SetAside(
                    job_id=row["_id"],
                    user_id=row["user_id"],
                    at_ms=round(row["at"].timestamp() * 1000),
                    error=row["error"],
                )
                for row in self._rows.find().sort("at", -1).limit(limit)
            ]


def without_content(outcome: Outcome) -> Outcome:
    """Return what of an outcome is kept in any case: what the job used and cost."""
    return Outcome(
        usage=outcome.usage,
        cost_micros=outcome.cost_micros,
        savings=outcome.savings,
        degraded=outcome.degraded,
        error=SET_ASIDE,
    )


@contextmanager
def document_faults() -> Iterator[None]:
    """Raise UnstorableDocument where a document is at fault; other errors pass.

    The cause is not kept: the drivers' messages quote the document.
    """
    try:
        yield
    except BulkWriteError as error:
        codes = {failure["code"] for failure in error.details.get("writeErrors", ())}
        if codes <= _SERVERS_FAULTS:
            raise
        name = f"{type(error).__name__} {min(codes - _SERVERS_FAULTS)}"
    except WriteError as error:
        if error.code in _SERVERS_FAULTS:
            raise
        name = f"{type(error).__name__} {error.code}"
    except (BSONError, ValueError, OverflowError, RecursionError) as error:
        # The encoder's: numbers beyond 64 bits, lone surrogates, size, depth, dates.
        name = type(error).__name__
    else:
        return
    raise UnstorableDocument(name)
