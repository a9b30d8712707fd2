"""Readers that do not read hold up nobody but themselves."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ops.drills.actions import open_stream

pytestmark = pytest.mark.faults

#: Many small pieces, of which a reader with a small window takes few before it stops.
LONG = "tokens=1000 gap_ms=1"
IDLE_READERS = 5


def test_others_read_to_the_end_when_many_readers_read_nothing(stack, crowd, settle):
    job_ids = crowd.submit(4, LONG)
    with ExitStack() as idle:
        for job_id in job_ids * IDLE_READERS:
            idle.enter_context(open_stream(stack.url, crowd.owner(job_id).authorization, job_id))

        crowd.streams(job_ids)
        late = crowd.submit(4)
        crowd.streams(late)

    assert crowd.cuts(job_ids + late) == 0
    assert settle() == dict.fromkeys(job_ids + late, "completed")
