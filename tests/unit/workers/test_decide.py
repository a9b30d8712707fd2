"""What the sweeper decides about a job that is due."""

from __future__ import annotations

import pytest

from core.jobs import Job, JobStatus
from core.team import Slot
from storage.jobs.sweep import DueJob
from tests.jobs import make_spec
from workers.upkeep.decide import SweepAction, decide


def due_job(*, status, attempt=1, started_ms=1, deadline_in_ms=1_000, slot=None, **fields):
    return DueJob(
        job_id="job",
        job=Job(spec=make_spec(), status=status, attempt=attempt, started_ms=started_ms),
        attempt=attempt,
        slot=slot,
        has_team=slot is not None,
        deadline_ms=10_000 + deadline_in_ms,
        **fields,
    )


QUEUED, RUNNING = JobStatus.QUEUED, JobStatus.IN_PROGRESS
DEV = Slot(1, "dev")
NEW = {"status": QUEUED, "attempt": 0, "started_ms": None, "deadline_in_ms": -10_000}


@pytest.mark.parametrize(
    ("due", "action"),
    [
        (DueJob(job_id="j", job=None), SweepAction.FORGET),
        (due_job(status=JobStatus.COMPLETED), SweepAction.FORGET),
        (due_job(status=RUNNING, lease_until_ms=10_001, cancel_requested=True), SweepAction.LEAVE),
        (due_job(status=RUNNING, lease_until_ms=10_000), SweepAction.RELEASE),
        (due_job(status=RUNNING, lease_until_ms=9_999, cancel_requested=True), SweepAction.CANCEL),
        (due_job(status=RUNNING, deadline_in_ms=0), SweepAction.TIME_OUT),
        (due_job(status=RUNNING, attempt=3), SweepAction.GIVE_UP),
        (due_job(status=QUEUED, attempt=0), SweepAction.RELEASE),
        (due_job(status=QUEUED, attempt=0, deadline_in_ms=-1), SweepAction.TIME_OUT),
        (due_job(**NEW), SweepAction.CHECK_RECORD),
        (due_job(**NEW, has_place=True, expires_ms=10_001), SweepAction.FORGET),
        (due_job(**NEW, has_place=True, expires_ms=10_000), SweepAction.EXPIRE),
        (due_job(**NEW, cancel_requested=True), SweepAction.CANCEL),
        (due_job(status=QUEUED, expires_ms=1), SweepAction.RELEASE),
        (due_job(status=RUNNING, slot=DEV, is_done=True), SweepAction.FORGET),
        (due_job(status=RUNNING, slot=DEV), SweepAction.RELEASE),
        (due_job(status=RUNNING, slot=DEV, slot_deadline_ms=9_999), SweepAction.REPORT_FAILURE),
        (due_job(status=RUNNING, slot=DEV, attempt=3), SweepAction.REPORT_FAILURE),
    ],
)
def test_the_action_follows_from_what_is_known_of_a_due_job(due, action):
    assert decide(due, now_ms=10_000) is action
