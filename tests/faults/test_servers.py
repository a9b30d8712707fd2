"""Redis and MongoDB that restart, forget everything, refuse, stand still or hang up."""

from __future__ import annotations

import pytest

from core.ids import SHARDS
from storage import keys
from tests.api_client import text_of
from tests.faults.harm import frozen, is_whole, restart, stopped
from tests.faults.readers import gaps_in
from tests.services import wait_until

pytestmark = pytest.mark.faults

TWO_SECONDS = "tokens=40 gap_ms=50"
FOUR_SECONDS = "tokens=80 gap_ms=50"


def pids_of(stack, *without):
    return {name: program.pid for name, program in stack.programs.items() if name not in without}


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.long)])
def test_no_job_is_lost_and_nobody_needs_help_when_redis_restarts(
    rounds, stack, crowd, streaming, follow, settle
):
    # The scheduler ends when it loses its lock, and the supervisor starts it again.
    pids = pids_of(stack, "redis", "beat")
    for _ in range(rounds):
        job_ids = crowd.submit(10, TWO_SECONDS)
        readers = follow(job_ids)
        wait_until(lambda ids=job_ids: streaming(ids) >= 5, 30, "answers to begin")

        restart(stack, "redis")

        assert gaps_in(readers.streams()) == {}
    assert set(settle(60).values()) == {"completed"}
    assert pids_of(stack, "redis", "beat") == pids


def test_submit_is_refused_at_once_when_redis_is_away(stack, crowd, settle):
    (job_id,) = crowd.submit(1)
    user = crowd.owner(job_id)
    user.http.timeout = 5

    with stopped(stack, "redis"):
        refused = user.submit("Is anybody there?")

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    wait_until(lambda: is_whole(stack), 30, "Redis to be back")
    settle()


def test_accepted_jobs_come_back_from_their_records_when_redis_is_wiped(
    crowd, streaming, redis, settle
):
    job_ids = crowd.submit(10, TWO_SECONDS)
    wait_until(lambda: streaming(job_ids) >= 5, 30, "answers to begin")

    redis.flushall()

    assert settle(60, log_survives=False) == dict.fromkeys(job_ids, "completed")


@pytest.mark.parametrize("gone", [stopped, frozen], ids=["refuses", "freezes"])
def test_live_jobs_go_on_and_submits_are_refused_when_mongo(
    gone, stack, crowd, follow, redis, settle
):
    job_ids = crowd.submit(4, FOUR_SECONDS)
    user = crowd.owner(job_ids[0])
    user.http.timeout = 15
    readers = follow(job_ids)
    wait_until(readers.have_text, 30, "answers to begin")
    # Every process of the API has to have seen the user.
    crowd.jobs(job_ids * 4)

    with gone(stack, "mongo"):
        refused = user.submit("Is anybody there?")
        streams = readers.streams()
        polled = crowd.jobs(job_ids)
        waiting = sum(redis.xlen(keys.records(shard)) for shard in SHARDS)

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert (gaps_in(streams), readers.returns) == ({}, 0)
    assert [job["status"] for job in polled] == ["completed"] * 4
    assert [job["answer"]["text"] for job in polled] == [text_of(streams[i]) for i in job_ids]
    assert waiting == 4
    assert settle(60) == dict.fromkeys(job_ids, "completed")


def test_streams_go_on_without_a_gap_when_every_connection_to_redis_is_killed(
    crowd, follow, redis, settle
):
    job_ids = crowd.submit(10, TWO_SECONDS)
    readers = follow(job_ids)
    wait_until(readers.have_text, 30, "answers to begin")

    for _ in range(3):
        for kind in ("normal", "pubsub"):
            redis.client_kill_filter(_type=kind, skipme=True)
        wait_until(lambda: any_pubsub(redis), 10, "the subscriptions to be back")

    assert gaps_in(readers.streams()) == {}
    assert settle(60) == dict.fromkeys(job_ids, "completed")


def any_pubsub(redis):
    return redis.client_list(_type="pubsub")
