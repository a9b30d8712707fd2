"""A new version is rolled out under load: every program is restarted, nobody notices."""

from __future__ import annotations

import pytest

from tests.faults.harm import WORKERS, restart
from tests.faults.readers import gaps_in
from tests.services import wait_until

pytestmark = pytest.mark.faults

FOUR_SECONDS = "tokens=40 gap_ms=100"


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
    names, stack, crowd, follow, settle
):
    followed, job_ids = [], []
    for name in names:
        batch = crowd.submit(10, FOUR_SECONDS)
        followed.append(follow(batch))
        job_ids += batch
        wait_until(followed[-1].have_text, 30, "answers to begin")

        restart(stack, name)

    streams = {
        job_id: events for readers in followed for job_id, events in readers.streams().items()
    }
    assert gaps_in(streams) == {}
    assert settle(60) == dict.fromkeys(job_ids, "completed")
    # A worker that is told to stop ends its jobs: none began anew.
    assert {job["attempt"] for job in crowd.jobs(job_ids)} == {1}
