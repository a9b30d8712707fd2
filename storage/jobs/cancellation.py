"""Ending a job because its user no longer wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import JobAlreadyFinished, JobNotFound
from core.jobs import TERMINAL, Job, JobStatus
from core.outcome import CANCELLED, Outcome
from core.team import early_outcome
from storage.jobs.attempts import Attempts
from storage.jobs.store import JobStore
from storage.jobs.sweep import Sweep
from storage.jobs.teams import Teams

if TYPE_CHECKING:
    from redis import Redis


class Cancellation:
    """Marks a job as to be cancelled; one that no worker has now ends at once."""

    def __init__(self, store: JobStore, sweep: Sweep, attempts: Attempts, teams: Teams) -> None:
        self._store = store
        self._sweep = sweep
        self._attempts = attempts
        self._teams = teams

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
            self._end(job, Outcome(error=CANCELLED))
        elif job.spec.team is not None:
            self.end_idle_team(job)

    def end_idle_team(self, job: Job) -> None:
        """End a cancelled job whose agents wait or are through, unless somebody works on it."""
        team = self._teams.read(job.id)
        if team is not None and not team.is_ending:
            self._end(job, early_outcome(team.plan, team.replies, CANCELLED))

    def _end(self, job: Job, outcome: Outcome) -> None:
        claim = self._sweep.take_over(job)
        if claim is not None:
            self._attempts.finish(claim, JobStatus.CANCELLED, outcome)


def cancellation_of(redis: Redis, *, lease_s: int) -> Cancellation:
    """Return the cancellation of the jobs in this Redis, for a process that only cancels.

    Args:
        lease_s: how long a job that is taken over to be ended is left alone.
    """
    return Cancellation(
        JobStore(redis),
        Sweep(redis, lease_s=lease_s),
        Attempts(redis, lease_s=lease_s),
        Teams(redis, lease_s=lease_s),
    )
