"""A new version is rolled out under load: every program is restarted, nobody notices."""

from __future__ import annotations

import pytest

from ops.drills.faults import restart
from tests.faults.queues import WORKERS
from tests.services import wait_until

pytestmark = pytest.mark.faults

#: Longer than the API is away.
EIGHT_SECONDS = "tokens=80 gap_ms=100"


@pytest.mark.parametrize(
    "names",
    [
        ("api",),
        WORKERS,
        pytest.param((*WORKERS, "beat", "upkeep", "api"), marks=pytest.mark.long),
    ],
    ids=lambda names: "-".join(names),
)
def test_streams_go_on_without_a_gap_when_programs_are_restarted_one_by_one(
    names, target, crowd, settle
):
    job_ids = []
    for name in names:
        batch = crowd.submit(10, EIGHT_SECONDS)
        job_ids += batch
        wait_until(lambda ids=batch: crowd.answering(ids) == 10, 60, "answers to begin")

        restart(target, name)
        wait_until(target.is_whole, 60, f"{name} to run again")

    assert settle() == dict.fromkeys(job_ids, "completed")
    # A worker that is told to stop ends its jobs: none began anew.
    assert {job["attempt"] for job in crowd.jobs(job_ids)} == {1}
