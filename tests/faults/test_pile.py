"""A pile of waiting jobs holds nobody up: not another user, not the sweeper, not a restoration."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import StoreUnavailable
from core.ids import new_user_id
from core.jobs import Job, JobStatus
from core.plans import PLANS
from ops.drills.faults import kill, wipe_redis
from storage import keys
from storage.jobs.cancellation import cancellation_of
from storage.jobs.lines import Lines
from storage.jobs.overview import Overview
from storage.records.jobs import JobRecords
from tests.acceptance import AcceptingStore
from tests.faults.queues import WORKERS
from tests.jobs import QUESTION, make_spec
from tests.services import wait_until

pytestmark = pytest.mark.faults

SIZES = [500, pytest.param(10_000, marks=pytest.mark.long)]
_AT_ONCE = 500


class Pile:
    """Recorded jobs of one user that wait in line."""

    def __init__(self, redis, mongo):
        self.redis, self.user_id = redis, new_user_id()
        self.records, self.store = JobRecords(mongo), AcceptingStore(redis)
        self.lines, self.specs = Lines(redis, lease_s=3), []

    def add(self, count):
        """Put so many jobs into line; the user runs as much as the plan allows, for ever."""
        most = PLANS["enterprise"].running
        held = {f"job_{number:032x}": 2**53 for number in range(most)}
        self.redis.zadd(f"{keys.LINES}running:{self.user_id}", held)
        for _ in range(0, count, _AT_ONCE):
            specs = [make_spec(user_id=self.user_id, reserved_micros=0) for _ in range(_AT_ONCE)]
            jobs = [
                Job(spec=spec, question=QUESTION, status=JobStatus.QUEUED, cursor=1)
                for spec in specs
            ]
            with ThreadPoolExecutor(32) as pool:
                list(pool.map(self.keep, jobs))
            self.store.restore_many([(spec, QUESTION) for spec in specs])
            self.specs += specs

    def keep(self, job):
        """Write the job's record, however long a busy database takes."""

        def is_kept():
            try:
                self.records.insert(job)
            except StoreUnavailable:
                return False
            return True

        wait_until(is_kept, 60, f"the record of {job.id}")

    def waiting(self):
        return Overview(self.redis).waiting()["run"]

    def cancel(self):
        """End every job, and let the user run again."""
        cancellation = cancellation_of(self.redis, lease_s=3)
        for spec in self.specs:
            job = self.store.get(spec.id)
            if job is not None and not job.is_terminal:
                cancellation.cancel(job)
        self.redis.delete(f"{keys.LINES}running:{self.user_id}")


@pytest.fixture
def pile(redis, mongo):
    return Pile(redis, mongo)


@pytest.mark.parametrize("size", SIZES)
def test_a_lost_worker_is_noticed_while_thousands_wait(size, pile, target, crowd, settle):
    pile.add(size)
    job_ids = crowd.submit(4, "tokens=60 gap_ms=50")
    wait_until(lambda: crowd.answering(job_ids) == 4, 60, "answers to begin")
    assert pile.waiting() >= size

    kill(target, *WORKERS)
    streams = crowd.streams(job_ids)

    assert all(
        any(event["type"] == "job.retrying" for event in events) for events in streams.values()
    )
    assert pile.waiting() >= size
    pile.cancel()
    assert settle() == dict.fromkeys(job_ids, "completed")


@pytest.mark.parametrize("size", SIZES)
def test_every_job_of_a_pile_comes_back_when_redis_is_wiped(
    size, pile, target, crowd, settle, mongo
):
    pile.add(size)
    wipe_redis(target)

    ended = {"user_id": pile.user_id, "status": JobStatus.COMPLETED.value}
    wait_until(lambda: mongo["jobs"].count_documents(ended) == size, 300, "the pile's answers")
    (job_id,) = crowd.submit(1)
    assert settle(log_survives=False) == {job_id: "completed"}
