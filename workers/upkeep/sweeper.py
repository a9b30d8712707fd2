"""The sweeper: brings on every job that nobody works on.

A sweep may run anywhere, at any time, twice at once: each step is guarded by a script.
"""

from __future__ import annotations

from typing import Final

import structlog

from core.errors import ServiceUnavailable, StoreUnavailable
from core.events import NewEvent
from core.jobs import Job, JobStatus
from core.models import Catalogue
from core.money import with_savings
from core.outcome import CANCELLED, EXPIRED, OUT_OF_TIME, WORKER_LOST, JobError, Outcome
from core.timing import now_ms
from storage.events.log import EventLog
from storage.jobs.acceptance import Acceptance
from storage.jobs.attempts import MAX_ATTEMPTS, Attempts
from storage.jobs.sweep import DueJob, Sweep
from storage.records.jobs import JobRecords
from workers.queue import JobQueue, WakeUps
from workers.upkeep.decide import SweepAction, decide
from workers.upkeep.partial_answer import partial_answer
from workers.upkeep.restoration import Restoration
from workers.upkeep.teams import TeamSweeper, with_replies

logger = structlog.get_logger(__name__)

#: Bounds one sweep, so that a recovery is a stream and not a flood.
_MOST_DUE: Final = 1_000
_MOST_EXPIRED: Final = 500

_ENDS: Final[dict[SweepAction, tuple[JobStatus, JobError]]] = {
    SweepAction.CANCEL: (JobStatus.CANCELLED, CANCELLED),
    SweepAction.TIME_OUT: (JobStatus.INCOMPLETE, OUT_OF_TIME),
    SweepAction.EXPIRE: (JobStatus.INCOMPLETE, EXPIRED),
    SweepAction.GIVE_UP: (
        JobStatus.FAILED,
        JobError(WORKER_LOST, f"The job lost its worker {MAX_ATTEMPTS} times."),
    ),
}


class Sweeper:
    """Looks after due jobs; `interval_s` is how often it is called."""

    def __init__(
        self,
        sweep: Sweep,
        acceptance: Acceptance,
        attempts: Attempts,
        log: EventLog,
        records: JobRecords,
        queue: JobQueue,
        wake_ups: WakeUps,
        restoration: Restoration,
        teams: TeamSweeper,
        catalogue: Catalogue,
        *,
        interval_s: float,
    ) -> None:
        self._sweep = sweep
        self._acceptance = acceptance
        self._attempts = attempts
        self._log = log
        self._records = records
        self._queue = queue
        self._wake_ups = wake_ups
        self._restoration = restoration
        self._teams = teams
        self._catalogue = catalogue
        self._interval_s = interval_s

    def run(self) -> None:
        """Bring every due job one step on; does nothing while another sweeper is at it.

        Raises:
            CoordinatorUnavailable: Redis is away; the next sweep goes on.
        """
        if not self._sweep.try_lock(self._interval_s * 0.9):
            return
        at_ms = now_ms()
        # What live users wait for comes before what was given up.
        found = self._sweep.due(at_ms, most=_MOST_DUE)
        found += self._sweep.expired(at_ms, most=_MOST_EXPIRED)
        steps = [(due, decide(due, at_ms)) for due in found]
        unsure = [due.job_id for due, action in steps if action is SweepAction.CHECK_RECORD]
        try:
            recorded = self._records.existing(unsure) if unsure else set()
            self._restoration.run()
        except StoreUnavailable:
            # Without MongoDB nobody can tell an unrecorded job from a recorded one: they wait.
            logger.warning("MongoDB is away; unrecorded and lost jobs wait for the next sweep")
            steps = [step for step in steps if step[1] is not SweepAction.CHECK_RECORD]
            recorded = set()
        for due, action in steps:
            try:
                self._carry_out(due, action, is_recorded=due.job_id in recorded)
            except ServiceUnavailable:
                raise
            except Exception as error:  # one job that cannot be brought on stops no other one
                self._sweep.postpone(due.entry, error)

    def _carry_out(self, due: DueJob, action: SweepAction, *, is_recorded: bool) -> None:
        if action is SweepAction.FORGET:
            self._sweep.forget(due)
        elif action is SweepAction.REPORT_FAILURE and due.slot is not None:
            is_lost = due.attempt >= MAX_ATTEMPTS
            self._teams.report_failure(due.job_id, due.slot, is_lost=is_lost)
        elif action in _ENDS and due.job is not None:
            self._end(due.job, action)
        elif action is SweepAction.CHECK_RECORD and due.job is not None:
            self._settle_accept(due.job, is_recorded=is_recorded)
        elif action is SweepAction.RELEASE:
            self._release(due)

    def _release(self, due: DueJob) -> None:
        is_back, unwoken = self._sweep.release(due.job_id, due.slot)
        if not is_back:
            return
        logger.info("in line again", entry=due.entry, attempt=due.attempt)
        if due.slot is not None:
            self._wake_ups.send("finish" if due.slot.is_end else "agent", unwoken)
        elif due.job is not None:
            self._wake_ups.send("quick" if due.job.spec.mode == "quick" else "run", unwoken)

    def _settle_accept(self, job: Job, *, is_recorded: bool) -> None:
        """Let a job that became durable wait for its turn, and forget one that did not."""
        if is_recorded:
            self._queue.submit(job.spec)
        elif self._acceptance.withdraw(job.spec):
            logger.warning("job without a record withdrawn", job_id=job.id)

    def _end(self, job: Job, action: SweepAction) -> None:
        """End a job that no worker holds, with what its last attempt had written."""
        claim = self._sweep.take_over(job)
        if claim is None:
            return
        status, error = _ENDS[action]
        answer, used = partial_answer(
            claim.question, self._log.read(job.id, after=0), self._catalogue
        )
        outcome = Outcome(
            answer=answer, usage=used.usage, cost_micros=used.cost_micros, error=error
        )
        unpublished: list[NewEvent] = []
        state = self._teams.state(job.id)
        if state is not None:
            outcome, unpublished = with_replies(outcome, state)
        logger.warning("job ended by the sweeper", job_id=job.id, status=status.value)
        priced = with_savings(outcome, self._catalogue)
        self._attempts.finish(claim, status, priced, last_events=unpublished)
