"""What keeps promises when nobody works on a job: the sweeper, and the way to the record.

Every function may run anywhere, at any time, twice at once: each step is guarded by the scripts.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import structlog

from core.errors import StoreUnavailable
from core.jobs import Job, JobSpec, JobStatus
from core.outcome import CANCELLED, OUT_OF_TIME, WORKER_LOST, JobError, Outcome
from storage.jobs.attempts import MAX_ATTEMPTS
from storage.jobs.store import Restored
from workers.upkeep import teams as team_upkeep
from workers.upkeep.partial_answer import remains_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.events import NewEvent
    from storage.jobs.sweep import DueJob
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)

#: Bounds one sweep, so that a recovery is a stream and not a flood.
_PER_SHARD: Final = 50
#: A record this old without a job in Redis belongs to a job that Redis lost.
_LOST_AFTER_MS: Final = 15_000
_RECORDS_PER_SHARD: Final = 100


class Verdict(StrEnum):
    """What is to be done with a job that is due for a look."""

    #: Its index entry has no job.
    FORGET = "forget"
    #: It waits or lost its worker: to the queue with it.
    PUBLISH = "publish"
    #: Accepted but perhaps never durable: publish it only if it has a record, else undo it.
    CHECK_RECORD = "check_record"
    CANCEL = "cancel"
    #: Its deadline has passed.
    EXPIRE = "expire"
    #: It lost its worker too often.
    GIVE_UP = "give_up"
    #: One agent's turn is over, or lost its worker too often: report that.
    CLOSE = "close"
    #: A live worker has it, or it has ended.
    LEAVE = "leave"


def judge(due: DueJob, now_ms: int) -> Verdict:
    """Decide on one due job by what is known of it."""
    job = due.job
    if job is None or job.is_terminal or due.is_done:
        return Verdict.FORGET
    if job.status is JobStatus.IN_PROGRESS and due.lease_until_ms > now_ms:
        return Verdict.LEAVE
    if due.cancel_requested:
        return Verdict.CANCEL
    if job.spec.deadline_ms <= now_ms:
        return Verdict.EXPIRE
    return _judge_slot(due, now_ms) if due.has_team else _judge_job(job)


def _judge_job(job: Job) -> Verdict:
    if job.attempt >= MAX_ATTEMPTS:
        return Verdict.GIVE_UP
    return Verdict.CHECK_RECORD if job.attempt == 0 else Verdict.PUBLISH


def _judge_slot(due: DueJob, now_ms: int) -> Verdict:
    if due.slot is None:
        return Verdict.LEAVE
    is_late = 0 < due.slot_deadline_ms <= now_ms
    return Verdict.CLOSE if is_late or due.attempt >= MAX_ATTEMPTS else Verdict.PUBLISH


_ENDINGS: Final[dict[Verdict, tuple[JobStatus, JobError]]] = {
    Verdict.CANCEL: (JobStatus.CANCELLED, CANCELLED),
    Verdict.EXPIRE: (JobStatus.INCOMPLETE, OUT_OF_TIME),
    Verdict.GIVE_UP: (
        JobStatus.FAILED,
        JobError(WORKER_LOST, f"The job lost its worker {MAX_ATTEMPTS} times."),
    ),
}


def sweep(runtime: Runtime) -> None:
    """Bring every job that is due one step on; a second sweeper at the same time does nothing."""
    if not runtime.sweep.try_lock(runtime.settings.sweep_interval_s * 0.9):
        return
    now_ms = int(time.time() * 1000)
    due = runtime.sweep.due(now_ms, per_shard=_PER_SHARD)
    verdicts = [(entry, judge(entry, now_ms)) for entry in due]
    unsure = [entry.job_id for entry, verdict in verdicts if verdict is Verdict.CHECK_RECORD]
    try:
        recorded = runtime.records.existing(unsure) if unsure else set()
        _restore_lost(runtime, now_ms)
    except StoreUnavailable:
        logger.warning("MongoDB is away; unrecorded and lost jobs wait for the next sweep")
        verdicts = [row for row in verdicts if row[1] is not Verdict.CHECK_RECORD]
        recorded = set()
    for entry, verdict in verdicts:
        _carry_out(runtime, entry, verdict, is_recorded=entry.job_id in recorded)


def _carry_out(runtime: Runtime, due: DueJob, verdict: Verdict, *, is_recorded: bool) -> None:
    if verdict is Verdict.FORGET:
        runtime.sweep.forget(due)
    elif verdict is Verdict.CLOSE and due.slot is not None:
        team_upkeep.close(runtime, due.job_id, due.slot, is_lost=due.attempt >= MAX_ATTEMPTS)
    elif verdict in _ENDINGS and due.job is not None:
        _end(runtime, due.job, verdict)
    elif verdict is Verdict.CHECK_RECORD and not is_recorded:
        _undo(runtime, due)
    elif verdict in (Verdict.PUBLISH, Verdict.CHECK_RECORD):
        _publish(runtime, due)


def _publish(runtime: Runtime, due: DueJob) -> None:
    if due.job is None or not runtime.sweep.release(due.job_id, due.slot):
        return
    logger.info("dispatched again", entry=due.entry, attempt=due.attempt)
    spec = due.job.spec
    if due.slot is not None:
        runtime.team_queue.send(spec.id, due.slot)
    else:
        runtime.queue.submit(spec.id, is_quick=spec.mode == "quick", request_id=spec.request_id)


def _undo(runtime: Runtime, due: DueJob) -> None:
    if due.job is not None and runtime.store.undo(due.job.spec):
        logger.warning("job without a record undone", job_id=due.job_id)


def _end(runtime: Runtime, job: Job, verdict: Verdict) -> None:
    """End a job that no worker holds, with what its last attempt had written."""
    claim = runtime.sweep.seize(job)
    if claim is None:
        return
    status, error = _ENDINGS[verdict]
    answer, usage, cost_micros = remains_of(
        claim.spec, runtime.log.read(job.id, after=0), runtime.catalogue
    )
    outcome = Outcome(answer=answer, usage=usage, cost_micros=cost_micros, error=error)
    told: list[NewEvent] = []
    state = runtime.teams.look(job.id)
    if state is not None:
        outcome, told = team_upkeep.with_replies(runtime, outcome, state)
    logger.warning("job ended by the sweeper", job_id=job.id, status=status.value)
    outcome = outcome.with_spent(claim.spent)
    runtime.attempts.finish(claim, status, outcome, last_events=told)


def _restore_lost(runtime: Runtime, now_ms: int) -> None:
    """Bring back accepted jobs that Redis no longer knows."""
    specs = runtime.records.unfinished(before_ms=now_ms - _LOST_AFTER_MS, limit=500)
    jobs: Sequence[Job | None] = (
        runtime.store.get_many([spec.id for spec in specs]) if specs else []
    )
    for spec, job in zip(specs, jobs, strict=True):
        if job is None:
            _restore(runtime, spec)


def _restore(runtime: Runtime, spec: JobSpec) -> None:
    match runtime.store.restore(spec):
        case Restored.UNDONE:
            runtime.records.discard_unfinished(spec.id)
        case Restored.RESTORED:
            logger.warning("job restored from its record", job_id=spec.id)
        case Restored.PRESENT:
            pass


def write_records(runtime: Runtime) -> None:
    """Write ended jobs to MongoDB until none is left; what fails stays for the next run."""
    while entries := runtime.record_stream.read(per_shard=_RECORDS_PER_SHARD):
        jobs = [entry.job for entry in entries if entry.job is not None]
        if jobs:
            runtime.records.write_finished(jobs)
        runtime.record_stream.let_go(entries)
