"""One page of a user's jobs, as they stand now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from core.jobs import Job, JobStatus

if TYPE_CHECKING:
    from storage.jobs.store import JobStore
    from storage.records.jobs import JobRecords


def page_of_jobs(
    records: JobRecords,
    store: JobStore,
    user_id: str,
    *,
    limit: int,
    before: tuple[int, str] | None,
    status: JobStatus | None,
) -> list[Job]:
    """Return the user's jobs in this state, newest first; fewer than `limit` on the last page.

    A record says `queued` until the job's end is written, so Redis is asked where an unfinished one
    stands. How many more records than jobs are read is bounded by the plan's unfinished jobs.
    """
    recorded_as = JobStatus.QUEUED if status is JobStatus.IN_PROGRESS else status
    found: list[Job] = []
    while True:
        recorded = records.list_of_user(user_id, limit=limit, before=before, status=recorded_as)
        live = store.get_many([job.id for job in recorded if not job.is_terminal])
        fresh = {job.id: job for job in live if job is not None}
        jobs = [structs.replace(fresh.get(job.id, job), question=job.question) for job in recorded]
        found += [job for job in jobs if status in (None, job.status)]
        if len(found) >= limit or len(recorded) < limit:
            return found[:limit]
        before = recorded[-1].spec.created_ms, recorded[-1].id
