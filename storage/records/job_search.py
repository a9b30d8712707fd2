"""A user's jobs by a filter, newest first, page by page.

One index is walked back in time, a span after the other, each longer than the one before: what a
server reads for a page depends on the page, also on one that sorts all that a query matches. What
the index cannot tell is looked at here, in a bounded number of jobs a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from core.job_filter import JobFilter
from core.jobs import TERMINAL, Job, JobStatus
from core.timing import now_ms
from storage.failures import store_errors
from storage.jobs.store import JobStore
from storage.records.documents import from_document, readable, to_ms, to_time
from storage.records.feedback import FeedbackRecords
from storage.records.job_logs import WITHOUT_LOG
from storage.records.keyset import Key

if TYPE_CHECKING:
    from pymongo.database import Database

#: A page ends when so many jobs were looked at, with what it has found.
MOST_LOOKED_AT: Final = 4_000
_FIRST_SPAN_MS: Final = 300_000
_GROWTH: Final = 8
#: What a client gets at a time of what matches in a span.
_BATCH: Final = 200
#: So much later than this one another process's clock may be.
_AHEAD_MS: Final = 60_000
#: No job is older: the first of January 2020.
_BEGINNING_MS: Final = 1_577_836_800_000
_SEEN: Final = {"created_at": 1, "status": 1}


class JobPage(Struct, frozen=True):
    """Jobs as they stand, newest first, and the key behind which the next page goes on.

    Attributes:
        next_key: None on the last page.
    """

    jobs: list[Job]
    next_key: Key | None


class _Seen(Struct, frozen=True):
    """What the walk knows of one job."""

    key: Key
    may_match: bool


class JobSearch:
    """Raises StoreUnavailable when MongoDB is away, CoordinatorUnavailable when Redis is.

    A record says `queued` until the job's end is written, so Redis is asked where an unfinished one
    stands.
    """

    def __init__(self, database: Database[dict[str, Any]], store: JobStore) -> None:
        self._jobs = database["jobs"]
        self._feedback = FeedbackRecords(database)
        self._store = store

    def page(
        self, user_id: str, wanted: JobFilter, *, limit: int, before: Key | None = None
    ) -> JobPage:
        """Return up to `limit` jobs behind `before`; fewer where it had to look at too many."""
        found: list[Job] = []
        candidates: list[str] = []
        for looked_at, seen in enumerate(self._walk(user_id, wanted, before), 1):
            if seen.may_match:
                candidates.append(seen.key[1])
            is_over = looked_at >= MOST_LOOKED_AT
            if len(candidates) >= limit or is_over:
                found += self._load(user_id, candidates, wanted)
                candidates = []
                if len(found) >= limit or is_over:
                    return _cut(found, limit, seen.key)
        found += self._load(user_id, candidates, wanted)
        return _cut(found, limit, None)

    def _walk(self, user_id: str, wanted: JobFilter, before: Key | None) -> Iterator[_Seen]:
        chosen = _chosen_by_index(user_id, wanted)
        # Nothing is of the future, but for clocks that differ.
        top = before[0] + 1 if before else now_ms() + _AHEAD_MS
        if wanted.to_ms is not None:
            top = min(top, wanted.to_ms)
        bottom, span = max(_BEGINNING_MS, wanted.from_ms or 0), _FIRST_SPAN_MS
        while top > bottom:
            low = max(bottom, top - span)
            for seen in self._span(chosen, wanted, low, top):
                if before is None or seen.key < before:
                    yield seen
            top, span = low, span * _GROWTH

    def _span(
        self, chosen: dict[str, Any], wanted: JobFilter, low_ms: int, top_ms: int
    ) -> Iterator[_Seen]:
        # Bounds that are themselves outside: the embedded server is not exact about equal ones.
        time = {"$gt": to_time(low_ms - 1), "$lt": to_time(top_ms)}
        with store_errors():
            fields = _SEEN | dict.fromkeys(_looked_at(wanted), 1)
            found = self._jobs.find(chosen | {"created_at": time}, fields).batch_size(_BATCH)
            for document in found.sort([("created_at", -1), ("_id", -1)]):
                key = to_ms(document["created_at"]), document["_id"]
                yield _Seen(key, _may(document, wanted))

    def _load(self, user_id: str, job_ids: list[str], wanted: JobFilter) -> list[Job]:
        """Return those of the jobs that match as they stand now, in the given order."""
        if not job_ids:
            return []
        with store_errors():
            chosen = {"_id": {"$in": job_ids}, "user_id": user_id}
            recorded = {
                job.id: job for job in readable(self._jobs.find(chosen, WITHOUT_LOG), from_document)
            }
        unfinished = [job.id for job in recorded.values() if not job.is_terminal]
        for job in self._store.get_many(unfinished) if unfinished else ():
            if job is not None and job.id in recorded:
                recorded[job.id] = structs.replace(job, question=recorded[job.id].question)
        jobs = [recorded[job_id] for job_id in job_ids if job_id in recorded]
        matching = [job for job in jobs if wanted.matches(job)]
        feedback = self._feedback.of_jobs(user_id, [job.id for job in matching if job.is_terminal])
        return [structs.replace(job, feedback=feedback.get(job.id)) for job in matching]


def _cut(found: list[Job], limit: int, next_key: Key | None) -> JobPage:
    """Return a page of the first ones; it ends at the last of them where there are more."""
    if len(found) < limit:
        return JobPage(found, next_key)
    last = found[limit - 1]
    return JobPage(found[:limit], (last.spec.created_ms, last.id))


def _chosen_by_index(user_id: str, wanted: JobFilter) -> dict[str, Any]:
    """Return the equalities that one index serves, with a span of time behind them."""
    own = {"user_id": user_id}
    if wanted.is_live:
        return own | {"status": JobStatus.QUEUED.value}
    if wanted.tags:
        return own | {"tags": wanted.tags[0]}
    return own if wanted.status is None else own | {"status": wanted.status.value}


def _looked_at(wanted: JobFilter) -> list[str]:
    """Return the fields besides time and status by which a record is looked at."""
    return ["tags"] * bool(wanted.tags) + ["words"] * bool(wanted.words)


def _may(document: dict[str, Any], wanted: JobFilter) -> bool:
    """Say whether a recorded job can match; of an unfinished one the record does not know."""
    status = JobStatus(document["status"])
    if status not in TERMINAL:
        return wanted.status is None or wanted.is_live
    return (
        wanted.status in (None, status)
        and set(wanted.tags) <= set(document.get("tags", ()))
        and (not wanted.words or wanted.has_words(document.get("words", ())))
    )
