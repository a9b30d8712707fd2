"""What the sweeper decides about a job that is due."""

from __future__ import annotations

import pytest

from core.jobs import Job, JobStatus
from storage.jobs.sweep import DueJob
from tests.jobs import make_spec
from workers.upkeep.decide import SweepAction, decide


def due_job(
    *, status, attempt=1, lease_in_ms=None, cancel=False, deadline_in_ms=1_000, started_ms=None
):
    spec = make_spec(deadline_ms=10_000 + deadline_in_ms)
    return DueJob(
        job_id=spec.id,
        job=Job(spec=spec, status=status, attempt=attempt, started_ms=started_ms),
        attempt=attempt,
        lease_until_ms=0 if lease_in_ms is None else 10_000 + lease_in_ms,
        cancel_requested=cancel,
    )


QUEUED, RUNNING = JobStatus.QUEUED, JobStatus.IN_PROGRESS


@pytest.mark.parametrize(
    ("due", "action"),
    [
        (DueJob(job_id="j", job=None), SweepAction.FORGET),
        (due_job(status=JobStatus.COMPLETED), SweepAction.FORGET),
        (due_job(status=RUNNING, lease_in_ms=1, cancel=True), SweepAction.LEAVE),
        (due_job(status=RUNNING, lease_in_ms=0, started_ms=1), SweepAction.PUBLISH),
        (due_job(status=RUNNING, lease_in_ms=-1, cancel=True), SweepAction.CANCEL),
        (due_job(status=RUNNING, lease_in_ms=-1, deadline_in_ms=0), SweepAction.EXPIRE),
        (due_job(status=RUNNING, lease_in_ms=-1, attempt=3), SweepAction.GIVE_UP),
        (due_job(status=QUEUED, attempt=0), SweepAction.CHECK_RECORD),
        (due_job(status=QUEUED, attempt=0, started_ms=1), SweepAction.PUBLISH),
        (due_job(status=QUEUED, attempt=1, started_ms=1), SweepAction.PUBLISH),
        (due_job(status=QUEUED, attempt=0, cancel=True), SweepAction.CANCEL),
        (due_job(status=QUEUED, attempt=0, deadline_in_ms=-1), SweepAction.EXPIRE),
    ],
)
def test_the_action_follows_from_what_is_known_of_a_due_job(due, action):
    assert decide(due, now_ms=10_000) is action
