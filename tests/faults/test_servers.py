"""Redis and MongoDB that restart, forget everything, refuse, stand still or hang up."""

from __future__ import annotations

import pytest

from core.ids import SHARDS
from ops.drills.faults import close_connections, frozen, restart, stopped, wipe_redis
from storage import keys
from tests.api_client import text_of
from tests.services import wait_until

pytestmark = pytest.mark.faults

TWO_SECONDS = "tokens=40 gap_ms=50"
FOUR_SECONDS = "tokens=80 gap_ms=50"


def pids_of(stack, *without):
    return {name: program.pid for name, program in stack.programs.items() if name not in without}


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.long)])
def test_no_job_is_lost_and_nobody_needs_help_when_redis_restarts(
    rounds, stack, target, crowd, settle
):
    # The scheduler ends when it loses its lock, and the supervisor starts it again.
    pids = pids_of(stack, "redis", "beat")
    for _ in range(rounds):
        job_ids = crowd.submit(10, TWO_SECONDS)
        wait_until(lambda ids=job_ids: crowd.answering(ids) >= 5, 60, "answers to begin")

        restart(target, "redis")
        wait_until(target.is_whole, 60, "every program to run again")
        crowd.streams(job_ids)
    assert set(settle().values()) == {"completed"}
    assert pids_of(stack, "redis", "beat") == pids


def test_submit_is_refused_at_once_when_redis_is_away(target, crowd, settle):
    (job_id,) = crowd.submit(1)
    user = crowd.owner(job_id)
    user.http.timeout = 5

    with stopped(target, "redis"):
        refused = user.submit("Is anybody there?")

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    settle()


def test_accepted_jobs_come_back_from_their_records_when_redis_is_wiped(crowd, target, settle):
    job_ids = crowd.submit(10, TWO_SECONDS)
    wait_until(lambda: crowd.answering(job_ids) >= 5, 60, "answers to begin")

    wipe_redis(target)

    assert settle(log_survives=False) == dict.fromkeys(job_ids, "completed")


@pytest.mark.parametrize("gone", [stopped, frozen], ids=["refuses", "freezes"])
def test_live_jobs_go_on_and_submits_are_refused_when_mongo(gone, target, crowd, redis, settle):
    job_ids = crowd.submit(4, FOUR_SECONDS)
    user = crowd.owner(job_ids[0])
    user.http.timeout = 15
    wait_until(lambda: crowd.answering(job_ids) == 4, 60, "answers to begin")
    # Every process of the API has to have seen the user.
    crowd.jobs(job_ids * 4)

    with gone(target, "mongo"):
        refused = user.submit("Is anybody there?")
        streams = crowd.streams(job_ids)
        polled = crowd.jobs(job_ids)
        waiting = sum(redis.xlen(keys.records(shard)) for shard in SHARDS)

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert crowd.cuts(job_ids) == 0
    assert [job["status"] for job in polled] == ["completed"] * 4
    assert [job["answer"]["text"] for job in polled] == [text_of(streams[i]) for i in job_ids]
    assert waiting == 4
    assert settle() == dict.fromkeys(job_ids, "completed")


def test_streams_go_on_without_a_gap_when_every_connection_to_redis_is_killed(
    crowd, target, redis, settle
):
    job_ids = crowd.submit(10, TWO_SECONDS)
    wait_until(lambda: crowd.answering(job_ids) == 10, 60, "answers to begin")

    for _ in range(3):
        assert close_connections(target) > 0
        wait_until(lambda: any_pubsub(redis), 60, "the subscriptions to be back")

    assert settle() == dict.fromkeys(job_ids, "completed")


def any_pubsub(redis):
    return redis.client_list(_type="pubsub")
