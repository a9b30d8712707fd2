"""Workers that are killed, and jobs whose message never reaches one."""

from __future__ import annotations

import random
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.client import ClientError
from ops.drills.faults import await_others, frozen, kill, signal_trees
from storage import keys
from tests.acceptance import AcceptingStore
from tests.faults.queues import WORKERS, make_due
from tests.jobs import QUESTION, ROOMY, make_spec
from tests.services import wait_until

pytestmark = pytest.mark.faults


def begun(redis, crowd):
    """Return the jobs that were taken in and not promised to anybody."""
    watched, standing = redis.zrange(keys.WATCH, 0, -1), redis.zrange(keys.EXPIRING, 0, -1)
    found = {unit.decode().partition("/")[0] for unit in (*watched, *standing)}
    return sorted(found - set(crowd.job_ids))


def is_decided(redis, mongo, job_id):
    """Say whether a job that nobody was promised is wholly gone, or wholly there and ended."""
    job, record = AcceptingStore(redis).get(job_id), mongo["jobs"].find_one({"_id": job_id})
    if job is None or record is None:
        return job is None and record is None
    return job.is_terminal and record["status"] == job.status.value


def was_promised(answer):
    """Say whether a submission was accepted; else it was refused, or cut off with the API."""
    try:
        return answer.result().status_code != 503
    except ClientError:
        return False


@pytest.mark.parametrize(
    ("kills", "jobs_each"), [(2, 10), pytest.param(30, 10, marks=pytest.mark.long)]
)
def test_no_job_is_lost_when_workers_are_killed_at_random(kills, jobs_each, target, crowd, settle):
    chooser = random.Random(kills)
    for _ in range(kills):
        job_ids = crowd.submit(jobs_each, "tokens=40 gap_ms=50")
        wait_until(lambda ids=job_ids: crowd.answering(ids) >= jobs_each // 2, 60, "answers")
        kill(target, chooser.choice(WORKERS))
        # A job that meets three kills is given up, and this is not about those.
        wait_until(lambda ids=job_ids: crowd.are_over(ids), 60, "the jobs' ends")

    assert settle() == dict.fromkeys(crowd.job_ids, "completed")
    assert len(crowd.job_ids) == kills * jobs_each


def test_readers_see_one_answer_when_its_worker_was_killed(target, crowd, settle):
    (job_id,) = crowd.submit(1, "tokens=60 gap_ms=50")
    wait_until(lambda: crowd.answering([job_id]), 60, "the answer to begin")

    kill(target, *WORKERS)
    events = crowd.owner(job_id).events(job_id)

    retrying = next(event for event in events if event["type"] == "job.retrying")
    assert retrying["data"]["agent"] is None
    assert retrying["data"]["reason"] == "worker_lost"
    assert settle() == {job_id: "completed"}


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.long)])
def test_every_job_finishes_when_workers_freeze_and_are_killed(
    rounds, target, crowd, redis, settle
):
    for _ in range(rounds):
        signal_trees([target.pids()[name] for name in WORKERS], signal.SIGSTOP)
        # Redis hands what idle workers wait for to connections that nobody reads any more.
        crowd.submit(20)
        kill(target, *WORKERS)

        ended = settle()

        assert set(ended.values()) == {"completed"}


def test_accept_is_undone_when_the_api_died_before_the_record(redis, mongo, settle):
    spec = make_spec()
    store = AcceptingStore(redis)
    store.accept(spec, QUESTION, ROOMY, None)

    redis.zadd(keys.WATCH, {spec.id: 1})

    wait_until(lambda: store.get(spec.id) is None, 60, "the sweeper to undo it")
    assert settle() == {}
    assert mongo["jobs"].find_one({"_id": spec.id}) is None


def test_promise_is_kept_or_never_made_when_the_api_is_killed_while_it_stores(
    target, crowd, redis, mongo, settle
):
    crowd.submit(1)
    # Every process of the API has to have seen the user.
    crowd.jobs(crowd.job_ids * 16)
    user = crowd.owner(crowd.job_ids[0])
    with ThreadPoolExecutor(5) as pool, frozen(target, "mongo"):
        answers = [pool.submit(user.submit, f"Question {number}") for number in range(5)]
        pids = {"api": target.pids()["api"]}
        wait_until(lambda: begun(redis, crowd), 60, "a job to be taken in")
        signal_trees(pids.values(), signal.SIGKILL)
        job_ids = begun(redis, crowd)
    await_others(target, pids)
    make_due(redis, job_ids)

    wait_until(
        lambda: all(is_decided(redis, mongo, job_id) for job_id in job_ids),
        *(60, "every job to be kept or undone"),
    )

    assert job_ids
    assert not any(was_promised(answer) for answer in answers)
    settle()
