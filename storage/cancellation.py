"""Ending a job because its user no longer wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import JobAlreadyFinished, JobNotFound
from core.job import TERMINAL, Job, JobError, JobStatus, Outcome

if TYPE_CHECKING:
    from storage.attempts import Attempts
    from storage.job_store import JobStore
    from storage.sweep import Sweep


class Cancellation:
    """Marks a job as to be cancelled; one that no worker has had yet ends at once."""

    def __init__(self, store: JobStore, sweep: Sweep, attempts: Attempts) -> None:
        self._store = store
        self._sweep = sweep
        self._attempts = attempts

    def cancel(self, job: Job) -> None:
        """Ask for the job's end; a repeat changes nothing.

        A running job is ended by its worker, which settles what was used; one that waits for
        another attempt is ended by the sweeper.

        Raises:
            JobAlreadyFinished, JobNotFound: there is nothing to cancel.
            CoordinatorUnavailable: Redis did not answer; nothing was marked.
        """
        status = self._store.request_cancel(job.id)
        if status is None:
            raise JobNotFound
        if status in TERMINAL:
            raise JobAlreadyFinished(status.value)
        if status is JobStatus.QUEUED and job.attempt == 0:
            self._end_at_once(job)

    def _end_at_once(self, job: Job) -> None:
        claim = self._sweep.seize(job)
        if claim is not None:
            error = JobError("cancelled", "The job was cancelled.")
            self._attempts.finish(claim, JobStatus.CANCELLED, Outcome(error=error))
