"""The durable record of every accepted job, in MongoDB.

A job is inserted before its 202 and replaced once, with its outcome, after its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pymongo import ReplaceOne, WriteConcern

from core.events import Event
from core.jobs import Job, JobSpec, JobStatus, Question
from core.outcome import WORKER_LOST, Outcome
from core.retention import KEEP_ALL, Retention
from core.timing import now_ms
from storage.failures import store_errors
from storage.jobs.fields import UnreadableEnd
from storage.records.conversations import Conversations
from storage.records.documents import (
    from_document,
    readable,
    to_document,
    to_spec,
    to_time,
    to_unfinished,
)
from storage.records.feedback import FeedbackRecords
from storage.records.group_commit import GroupCommit
from storage.records.inserts import insert_missing
from storage.records.job_logs import NO_LOGS, WITHOUT_LOG, packed
from storage.records.keyset import newest_behind, page, with_time
from storage.records.ledger import Ledger, settlement, to_settlement
from storage.records.retention import kept_until
from storage.records.set_aside import (
    SetAsideRecords,
    UnstorableDocument,
    document_faults,
    without_content,
)
from storage.records.usage import UsageRecords, UserDay, day_of
from storage.records.webhooks import WebhookRecords

if TYPE_CHECKING:
    from pymongo.database import Database

_BATCH: Final = 64
#: What a dead letter looks like.
_DEAD: Final = {"status": JobStatus.FAILED.value, "outcome.error.code": WORKER_LOST}
#: How long a submit waits for its record: with what else it does, it answers within a second.
_INSERT_S: Final = 0.6


class JobRecords:
    """Jobs in MongoDB; raises StoreUnavailable when it does not answer in time.

    Args:
        insert_s: how long an insert may take, a lost answer's repeat included.
        retention: how long what is written of ended jobs is kept.
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        *,
        insert_s: float = _INSERT_S,
        retention: Retention = KEEP_ALL,
    ) -> None:
        self._retention = retention
        majority = WriteConcern("majority")
        self._jobs = database.get_collection("jobs", write_concern=majority)
        self._insert_s = insert_s
        self._ledger = Ledger(database)
        self._feedback = FeedbackRecords(database)
        self._conversations = Conversations(database)
        self._usage = UsageRecords(database)
        self._webhooks = WebhookRecords(database)
        self.set_aside = SetAsideRecords(database)
        self._inserts = GroupCommit[Job](self._insert_batch, max_batch=_BATCH)

    def insert(self, job: Job) -> None:
        """Make a job durable; concurrent calls of one process share a batch."""
        self._inserts.commit(job)

    def _insert_batch(self, jobs: Sequence[Job]) -> None:
        # The driver repeats a write whose answer was lost, and then finds its document there.
        with store_errors(within_s=self._insert_s), document_faults():
            insert_missing(self._jobs, [to_document(job) for job in jobs])

    def write_finished(
        self, jobs: Sequence[Job], logs: Mapping[str, Sequence[Event]] = NO_LOGS
    ) -> None:
        """Store ended jobs, their logs and settlements; a repeat changes nothing.

        A job that MongoDB will never take is set aside and the others are stored.
        """
        try:
            self._write_batch(jobs, logs)
        except UnstorableDocument as fault:
            if len(jobs) == 1:
                self._set_aside(jobs[0], str(fault))
                return
            # Halving finds the few bad ones of a batch in a few writes.
            middle = len(jobs) // 2
            self.write_finished(jobs[:middle], logs)
            self.write_finished(jobs[middle:], logs)

    def _write_batch(self, jobs: Sequence[Job], logs: Mapping[str, Sequence[Event]]) -> None:
        with store_errors(), document_faults():
            documents = [(job, self._document(job, logs)) for job in jobs]
            unrecorded = [document for job, document in documents if _was_accepted_answered(job)]
            others = [_replace(one) for job, one in documents if not _was_accepted_answered(job)]
            self._ledger.add([to_settlement(job) for job in jobs])
            if unrecorded:
                insert_missing(self._jobs, unrecorded)
            if others:
                self._jobs.bulk_write(others, ordered=False)
        # The API does it at submit, but may have died in between.
        self._conversations.note_messages((job.spec, job.question) for job in jobs)
        self._usage.mark(day_of(job) for job in jobs)
        self._webhooks.add(jobs)

    def _document(self, job: Job, logs: Mapping[str, Sequence[Event]]) -> dict[str, Any]:
        """Return the record of an ended job."""
        return to_document(job) | packed(logs, job) | kept_until(self._retention, job)

    def _set_aside(self, job: Job, fault: str) -> None:
        """End the job on record without its outcome's content, and remember that."""
        outcome = without_content(job.outcome or Outcome())
        try:
            self._write_batch([msgspec.structs.replace(job, outcome=outcome)], NO_LOGS)
        except UnstorableDocument:
            end = UnreadableEnd(status=job.status, finished_ms=job.finished_ms, cost_micros=0)
            self._end(job.id, end)
        self.set_aside.add(job.id, job.spec.user_id, fault)

    def set_unreadable_aside(self, job_id: str, end: UnreadableEnd) -> None:
        """End a job on record of whose hash only this could be read; a repeat changes nothing."""
        user_id = self._end(job_id, end)
        self.set_aside.add(job_id, user_id, end.fault)

    def _end(self, job_id: str, end: UnreadableEnd) -> str | None:
        """Write the end into the record that the accept made; return its user."""
        end_ms = end.finished_ms or now_ms()
        outcome = without_content(Outcome(cost_micros=end.cost_micros))
        changes = {
            "status": end.status.value,
            "finished_ms": end_ms,
            "finished_at": to_time(end_ms),
            "outcome": msgspec.to_builtins(outcome),
        }
        with store_errors():
            found = self._jobs.find_one_and_update(
                {"_id": job_id}, {"$set": changes, "$unset": {"spec.cache_secret": ""}}
            )
            if found is None:
                return None
            created_ms = round(found["created_at"].timestamp() * 1000)
            self._usage.mark([UserDay(found["user_id"], found["created_at"].date())])
            self._webhooks.add([Job(spec=to_spec(found), status=end.status, finished_ms=end_ms)])
            row = settlement(job_id, found["user_id"], created_ms, end_ms, outcome)
            self._ledger.add_missing([row])
        return str(found["user_id"])

    def get(self, job_id: str, user_id: str) -> Job | None:
        """Return the job as it was last recorded; None also for another owner's."""
        with store_errors():
            found = self._jobs.find_one({"_id": job_id, "user_id": user_id}, WITHOUT_LOG)
        return None if found is None else self._with_feedback(user_id, [from_document(found)])[0]

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
        criteria = with_time(criteria, "created_at", newest_behind(before))
        with store_errors():
            found = self._jobs.find(criteria, WITHOUT_LOG).sort([("created_at", -1), ("_id", -1)])
            read = readable(found.batch_size(limit + 1), from_document)
            jobs = page(
                read,
                lambda job: (job.spec.created_ms, job.id),
                before,
                newest_first=True,
                limit=limit,
            )
        return self._with_feedback(user_id, jobs)

    def _with_feedback(self, user_id: str, jobs: list[Job]) -> list[Job]:
        ended = [job.id for job in jobs if job.is_terminal]
        found = self._feedback.of_jobs(user_id, ended)
        return [msgspec.structs.replace(job, feedback=found.get(job.id)) for job in jobs]

    def unfinished(
        self, *, is_batch: bool, before: tuple[int, str] | None, limit: int
    ) -> list[tuple[JobSpec, Question]]:
        """Return jobs of a class whose end is not recorded, newest first.

        Those that this version cannot read are left to the version that wrote them.

        Args:
            before: `(created_ms, id)` of the job behind which to go on; None for the newest.

        Returns:
            of each what `JobStore.restore` takes.
        """
        criteria: dict[str, Any] = {"status": JobStatus.QUEUED.value}
        criteria["spec.is_batch"] = True if is_batch else {"$ne": True}
        if before is not None:
            criteria["$or"] = _behind(before)
        with store_errors():
            found = self._jobs.find(criteria, {"spec": 1, "question": 1}).sort(
                [("created_at", -1), ("_id", -1)]
            )
            # No limit in the query: unreadable ones must not take the places of others.
            return list(islice(readable(found, to_unfinished), limit))

    def unfinished_ids_of(self, user_id: str) -> list[str]:
        """Return the ids of a user's jobs whose end is not recorded, newest first."""
        criteria = {"user_id": user_id, "status": JobStatus.QUEUED.value}
        with store_errors():
            found = self._jobs.find(criteria, {"_id": 1}).sort([("created_at", -1), ("_id", -1)])
            return [document["_id"] for document in found]

    def unfinished_of(self, user_id: str, job_ids: Sequence[str]) -> list[tuple[JobSpec, Question]]:
        """Return those of a user's jobs whose end is not recorded, as `unfinished` does."""
        criteria = {
            "user_id": user_id,
            "status": JobStatus.QUEUED.value,
            "_id": {"$in": list(job_ids)},
        }
        with store_errors():
            found = self._jobs.find(criteria, {"spec": 1, "question": 1})
            return list(readable(found, to_unfinished))

    def dead_letters(self, *, limit: int) -> list[Job]:
        """Return the jobs that lost their worker too often, newest first."""
        with store_errors():
            found = self._jobs.find(_DEAD, WITHOUT_LOG).sort("created_at", -1)
            return list(islice(readable(found, from_document), limit))

    def dead_letter(self, job_id: str) -> Job | None:
        """Return the dead letter, None if there is no such."""
        with store_errors():
            found = self._jobs.find_one({"_id": job_id, **_DEAD}, WITHOUT_LOG)
        return None if found is None else from_document(found)

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


def _behind(before: tuple[int, str]) -> list[dict[str, Any]]:
    """Return the alternatives that match what follows `(created_ms, id)`, newest first."""
    created_at, job_id = to_time(before[0]), before[1]
    return [
        {"created_at": {"$lt": created_at}},
        {"created_at": created_at, "_id": {"$lt": job_id}},
    ]


def _was_accepted_answered(job: Job) -> bool:
    """Say whether the job has no record yet; an insert costs a quarter of a replacement."""
    return job.attempt == 0 and job.outcome is not None and job.outcome.cache.status == "hit"


def _replace(document: dict[str, Any]) -> ReplaceOne[dict[str, Any]]:
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)
