"""The durable record of every accepted job, in MongoDB.

A job is inserted before its 202 and replaced once, with its outcome, after its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pymongo import ReplaceOne, WriteConcern
from pymongo.errors import BulkWriteError

from core.jobs import Job, JobSpec, JobStatus, Question
from core.outcome import WORKER_LOST, Outcome
from storage.failures import store_errors
from storage.records.group_commit import GroupCommit

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

_BATCH: Final = 64
_DUPLICATE_KEY: Final = 11000
#: What a dead letter looks like.
_DEAD: Final = {"status": JobStatus.FAILED.value, "outcome.error.code": WORKER_LOST}
#: How long a submit waits for its record: with what else it does, it answers within a second.
_INSERT_S: Final = 0.6


class JobRecords:
    """Jobs in MongoDB; raises StoreUnavailable when it does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        majority = WriteConcern("majority")
        self._jobs = database.get_collection("jobs", write_concern=majority)
        self._ledger = database.get_collection("ledger", write_concern=majority)
        self._inserts = GroupCommit[Job](self._insert_batch, max_batch=_BATCH)

    def insert(self, job: Job) -> None:
        """Make a job durable; concurrent calls of one process share a batch."""
        self._inserts.commit(job)

    def _insert_batch(self, jobs: Sequence[Job]) -> None:
        # The driver repeats a write whose answer was lost, and then finds its document there.
        with store_errors(within_s=_INSERT_S):
            _insert_missing(self._jobs, [_to_document(job) for job in jobs])

    def write_finished(self, jobs: Sequence[Job]) -> None:
        """Store ended jobs and their settlements; a repeat changes nothing."""
        unrecorded = [_to_document(job) for job in jobs if _was_accepted_answered(job)]
        others = [_replace(_to_document(job)) for job in jobs if not _was_accepted_answered(job)]
        with store_errors():
            _insert_missing(self._ledger, [_to_settlement(job) for job in jobs])
            if unrecorded:
                _insert_missing(self._jobs, unrecorded)
            if others:
                self._jobs.bulk_write(others, ordered=False)

    def get(self, job_id: str, user_id: str) -> Job | None:
        """Return the job as it was last recorded; None also for another owner's."""
        with store_errors():
            found = self._jobs.find_one({"_id": job_id, "user_id": user_id})
        return None if found is None else _from_document(found)

    def list_of_user(
        self,
        user_id: str,
        *,
        limit: int,
        before: tuple[int, str] | None = None,
        status: JobStatus | None = None,
    ) -> list[Job]:
        """Return a user's jobs, newest first, starting after the `(created_ms, id)` of `before`."""
        criteria: dict[str, Any] = {"user_id": user_id}
        if status is not None:
            criteria["status"] = status.value
        if before is not None:
            created_at, job_id = _to_time(before[0]), before[1]
            criteria["$or"] = [
                {"created_at": {"$lt": created_at}},
                {"created_at": created_at, "_id": {"$lt": job_id}},
            ]
        with store_errors():
            found = self._jobs.find(criteria).sort([("created_at", -1), ("_id", -1)]).limit(limit)
            return [_from_document(document) for document in found]

    def unfinished(self, *, before_ms: int, limit: int) -> list[tuple[JobSpec, Question]]:
        """Return jobs accepted before `before_ms` whose end is not recorded, oldest first.

        Returns:
            of each what `JobStore.restore` takes.
        """
        with store_errors():
            found = (
                self._jobs.find(
                    {"status": JobStatus.QUEUED.value, "created_at": {"$lt": _to_time(before_ms)}},
                    {"spec": 1, "question": 1},
                )
                .sort("created_at", 1)
                .limit(limit)
            )
            return [(to_spec(document), to_question(document)) for document in found]

    def dead_letters(self, *, limit: int) -> list[Job]:
        """Return the jobs that lost their worker too often, newest first."""
        with store_errors():
            found = self._jobs.find(_DEAD).sort("created_at", -1).limit(limit)
            return [_from_document(document) for document in found]

    def dead_letter(self, job_id: str) -> Job | None:
        """Return the dead letter, None if there is no such."""
        with store_errors():
            found = self._jobs.find_one({"_id": job_id, **_DEAD})
        return None if found is None else _from_document(found)

    def existing(self, job_ids: Iterable[str]) -> set[str]:
        """Return which of the ids have a record."""
        with store_errors():
            return {
                document["_id"]
                for document in self._jobs.find({"_id": {"$in": list(job_ids)}}, {"_id": 1})
            }

    def discard_unfinished(self, job_id: str) -> None:
        """Remove the record of a job that was withdrawn before its 202."""
        with store_errors():
            self._jobs.delete_one({"_id": job_id, "status": JobStatus.QUEUED.value})


def _insert_missing(
    collection: Collection[dict[str, Any]], documents: list[dict[str, Any]]
) -> None:
    """Insert the documents whose ids are not there yet."""
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        if any(failure["code"] != _DUPLICATE_KEY for failure in error.details["writeErrors"]):
            raise


def _was_accepted_answered(job: Job) -> bool:
    """Say whether the job has no record yet; an insert costs a quarter of a replacement."""
    return job.attempt == 0 and job.outcome is not None and job.outcome.cache.status == "hit"


def _replace(document: dict[str, Any]) -> ReplaceOne[dict[str, Any]]:
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)


def _to_document(job: Job) -> dict[str, Any]:
    return {
        "_id": job.id,
        "user_id": job.spec.user_id,
        "status": job.status.value,
        "created_at": _to_time(job.spec.created_ms),
        "finished_at": None if job.finished_ms is None else _to_time(job.finished_ms),
        "attempt": job.attempt,
        "cursor": job.cursor,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "spec": msgspec.to_builtins(job.spec),
        "question": msgspec.to_builtins(job.question),
        "outcome": None if job.outcome is None else msgspec.to_builtins(job.outcome),
    }


def _to_settlement(job: Job) -> dict[str, Any]:
    """Return the ledger's entry for an ended job: what was held, and what was paid."""
    outcome = job.outcome or Outcome()
    return {
        "_id": f"{job.id}:settlement",
        "kind": "settlement",
        "job_id": job.id,
        "user_id": job.spec.user_id,
        "at": _to_time(job.finished_ms or job.spec.created_ms),
        "reserved_micros": job.spec.reserved_micros,
        "cost_micros": outcome.cost_micros,
        "baseline_micros": outcome.baseline_micros,
        "saved_by_routing_micros": outcome.savings.routing_micros,
        "saved_by_cache_micros": outcome.savings.cache_micros,
        "saved_by_prompt_cache_micros": outcome.savings.prompt_cache_micros,
    }


def _from_document(document: dict[str, Any]) -> Job:
    return Job(
        spec=to_spec(document),
        status=JobStatus(document["status"]),
        attempt=document["attempt"],
        cursor=document["cursor"],
        started_ms=document["started_ms"],
        finished_ms=document["finished_ms"],
        outcome=None
        if document["outcome"] is None
        else msgspec.convert(document["outcome"], Outcome),
        question=to_question(document),
    )


def to_spec(document: dict[str, Any]) -> JobSpec:
    """Read the spec of a job's document."""
    return msgspec.convert(document["spec"], JobSpec)


def to_question(document: dict[str, Any]) -> Question:
    """Read the question of a job's document; the version before wrote it into the spec."""
    return msgspec.convert(document.get("question") or document["spec"], Question)


def _to_time(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
