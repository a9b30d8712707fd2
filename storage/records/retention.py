"""Removing the content of jobs whose time is over; their records, costs and times stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pymongo import UpdateOne, WriteConcern

from core.jobs import Job
from core.retention import KEEP_ALL, Retention, without_content
from core.timing import now_ms
from storage.failures import store_errors
from storage.records.documents import from_document, readable, to_time
from storage.records.job_logs import WITHOUT_LOG

if TYPE_CHECKING:
    from pymongo.database import Database

#: Fields that hold nothing but content.
_GONE: Final = {"log": "", "words": "", "content_until": ""}


class JobContent:
    """Raises StoreUnavailable when MongoDB is away; what was removed stays removed."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._jobs = database.get_collection("jobs", write_concern=WriteConcern("majority"))

    def remove_due(self, *, limit: int) -> int:
        """Remove the content of jobs that is to go by now, and return of how many it was."""
        chosen = {"content_until": {"$lt": to_time(now_ms() + 1)}}
        with store_errors():
            found = list(self._jobs.find(chosen, {"_id": 1}).limit(limit))
        return self.remove([document["_id"] for document in found])

    def remove(self, job_ids: Sequence[str]) -> int:
        """Remove the content of ended jobs that are on record; a repeat does nothing."""
        with store_errors():
            found = self._jobs.find({"_id": {"$in": list(job_ids)}}, WITHOUT_LOG)
            jobs = [job for job in readable(found, from_document) if job.is_terminal]
            if jobs:
                self._jobs.bulk_write([_removal(job, now_ms()) for job in jobs], ordered=False)
        return len(jobs)


def kept_until(retention: Retention, job: Job) -> dict[str, Any]:
    """Return the fields of an ended job's record that say when what of it is to go."""
    if retention is KEEP_ALL:
        return {}
    times = {
        "content_until": retention.content_until_ms(job),
        "expires_at": retention.record_until_ms(job),
    }
    return {name: to_time(at_ms) for name, at_ms in times.items() if at_ms is not None}


def _removal(job: Job, at_ms: int) -> UpdateOne:
    emptied = without_content(job, at_ms)
    outcome = None if emptied.outcome is None else msgspec.to_builtins(emptied.outcome)
    changes = {
        "question": msgspec.to_builtins(emptied.question),
        "outcome": outcome,
        "content_removed_ms": at_ms,
    }
    # One that was written again meanwhile is due again.
    return UpdateOne({"_id": job.id}, {"$set": changes, "$unset": _GONE})
