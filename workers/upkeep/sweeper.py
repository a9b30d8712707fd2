"""The sweeper: brings on every job that nobody works on.

A sweep may run anywhere, at any time, twice at once: each step is guarded by a script.
"""

from __future__ import annotations

from typing import Final

import structlog

from core.errors import ServiceUnavailable, StoreUnavailable
from core.events import NewEvent
from core.jobs import Job, JobSpec, JobStatus, Question
from core.models import Catalogue
from core.money import with_savings
from core.outcome import CANCELLED, OUT_OF_TIME, WORKER_LOST, JobError, Outcome
from core.timing import now_ms
from storage.events.log import EventLog
from storage.jobs.attempts import MAX_ATTEMPTS, Attempts
from storage.jobs.store import JobStore, Restored
from storage.jobs.sweep import DueJob, Sweep
from storage.records.jobs import JobRecords
from workers.queue import JobQueue
from workers.upkeep.decide import SweepAction, decide
from workers.upkeep.partial_answer import partial_answer
from workers.upkeep.teams import TeamSweeper, with_replies

logger = structlog.get_logger(__name__)

#: Bounds one sweep, so that a recovery is a stream and not a flood.
_PER_SHARD: Final = 50
#: A record this old without a job in Redis belongs to a job that Redis lost.
_LOST_AFTER_MS: Final = 15_000
_RESTORED_AT_ONCE: Final = 500

_ENDS: Final[dict[SweepAction, tuple[JobStatus, JobError]]] = {
    SweepAction.CANCEL: (JobStatus.CANCELLED, CANCELLED),
    SweepAction.EXPIRE: (JobStatus.INCOMPLETE, OUT_OF_TIME),
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
        store: JobStore,
        attempts: Attempts,
        log: EventLog,
        records: JobRecords,
        queue: JobQueue,
        teams: TeamSweeper,
        catalogue: Catalogue,
        *,
        interval_s: float,
    ) -> None:
        self._sweep = sweep
        self._store = store
        self._attempts = attempts
        self._log = log
        self._records = records
        self._queue = queue
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
        steps = [(due, decide(due, at_ms)) for due in self._sweep.due(at_ms, per_shard=_PER_SHARD)]
        unsure = [due.job_id for due, action in steps if action is SweepAction.CHECK_RECORD]
        try:
            recorded = self._records.existing(unsure) if unsure else set()
            self._restore_lost(at_ms)
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
        elif action is SweepAction.CHECK_RECORD and not is_recorded:
            self._withdraw(due)
        elif action in (SweepAction.PUBLISH, SweepAction.CHECK_RECORD):
            self._publish(due)

    def _publish(self, due: DueJob) -> None:
        if due.job is None or not self._sweep.release(due.job_id, due.slot):
            return
        logger.info("published again", entry=due.entry, attempt=due.attempt)
        spec = due.job.spec
        if due.slot is not None:
            self._queue.send_slot(spec.id, due.slot)
        else:
            self._queue.submit(spec.id, is_quick=spec.mode == "quick", request_id=spec.request_id)

    def _withdraw(self, due: DueJob) -> None:
        if due.job is not None and self._store.withdraw(due.job.spec):
            logger.warning("job without a record withdrawn", job_id=due.job_id)

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

    def _restore_lost(self, at_ms: int) -> None:
        """Bring back accepted jobs that Redis no longer knows."""
        records = self._records.unfinished(
            before_ms=at_ms - _LOST_AFTER_MS, limit=_RESTORED_AT_ONCE
        )
        jobs = self._store.get_many([spec.id for spec, _ in records]) if records else []
        for (spec, question), job in zip(records, jobs, strict=True):
            if job is None:
                self._restore(spec, question)

    def _restore(self, spec: JobSpec, question: Question) -> None:
        match self._store.restore(spec, question):
            case Restored.WITHDRAWN:
                self._records.discard_unfinished(spec.id)
            case Restored.RESTORED:
                logger.warning("job restored from its record", job_id=spec.id)
            case Restored.PRESENT:
                pass
