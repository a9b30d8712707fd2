"""What the sweeper does with a job, or a slot of one, that is due for a look: a pure decision."""

from __future__ import annotations

from enum import StrEnum

from core.jobs import Job, JobStatus
from storage.jobs.attempts import MAX_ATTEMPTS
from storage.jobs.sweep import DueJob


class SweepAction(StrEnum):
    """The one step by which a due job is brought on."""

    #: The index entry has no unfinished job: remove it.
    FORGET = "forget"
    #: It lost its worker: put it back into its line.
    RELEASE = "release"
    #: Accepted, but perhaps never durable: into its line if it has a record, else withdrawn.
    CHECK_RECORD = "check_record"
    CANCEL = "cancel"
    #: Its deadline has passed.
    TIME_OUT = "time_out"
    #: It has waited for its start longer than it may.
    EXPIRE = "expire"
    #: It lost its worker too often.
    GIVE_UP = "give_up"
    #: One agent's time is over, or it lost its worker too often: report a failure in its place.
    REPORT_FAILURE = "report_failure"
    #: A live worker has it.
    LEAVE = "leave"


def decide(due: DueJob, now_ms: int) -> SweepAction:
    """Return what to do with a due job; the order of the questions matters.

    Args:
        now_ms: Unix milliseconds.
    """
    job = due.job
    if job is None or job.is_terminal or due.is_done:
        return SweepAction.FORGET
    if job.status is JobStatus.IN_PROGRESS and due.lease_until_ms > now_ms:
        return SweepAction.LEAVE
    if due.cancel_requested:
        return SweepAction.CANCEL
    if job.started_ms is None:
        return _decide_unbegun(due, now_ms)
    if due.deadline_ms <= now_ms:
        return SweepAction.TIME_OUT
    return _decide_slot(due, now_ms) if due.has_team else _decide_job(job)


def _decide_unbegun(due: DueJob, now_ms: int) -> SweepAction:
    if 0 < due.expires_ms <= now_ms:
        return SweepAction.EXPIRE
    # One that stands in its line was durable before.
    return SweepAction.FORGET if due.has_place else SweepAction.CHECK_RECORD


def _decide_job(job: Job) -> SweepAction:
    return SweepAction.GIVE_UP if job.attempt >= MAX_ATTEMPTS else SweepAction.RELEASE


def _decide_slot(due: DueJob, now_ms: int) -> SweepAction:
    if due.slot is None:
        # The job itself: its slots are due on their own.
        return SweepAction.LEAVE
    is_late = 0 < due.slot_deadline_ms <= now_ms
    is_lost = due.attempt >= MAX_ATTEMPTS
    return SweepAction.REPORT_FAILURE if is_late or is_lost else SweepAction.RELEASE
