"""What a drill finds in Redis when not everything has gone with the jobs."""

from __future__ import annotations

import pytest

from core.ids import new_job_id, new_user_id
from ops.drills.evidence import leftovers
from storage import keys

USER = new_user_id()
JOB = new_job_id(USER)
NOW_MS = 1_700_000_000_000


def leave_active(redis):
    redis.zadd(keys.active(USER), {JOB: 1})


def leave_reservation(redis):
    redis.hset(keys.spend(USER, NOW_MS), "reserved", 50)
    redis.expire(keys.spend(USER, NOW_MS), 60)


def release_twice(redis):
    redis.hset(keys.spend(USER, NOW_MS), "reserved", -50)
    redis.expire(keys.spend(USER, NOW_MS), 60)


def leave_due(redis):
    redis.zadd(keys.WATCH, {f"{JOB}/1.dev": 1})


def leave_in_line(redis):
    redis.zadd(f"{keys.LINES}units:i:run::{USER}:", {JOB: 1})


def leave_running(redis):
    redis.zadd(f"{keys.LINES}running:{USER}", {JOB: 1})


def leave_deferred(redis):
    redis.zadd(keys.DEFERRED, {JOB: 1})


def leave_unread(redis):
    redis.xadd(keys.records(JOB[4]), {"id": JOB})


def leave_pending(redis):
    stream = keys.records(JOB[4])
    redis.xgroup_create(stream, "upkeep", mkstream=True)
    entry_id = redis.xadd(stream, {"id": JOB})
    redis.xreadgroup("upkeep", "upkeep", {stream: ">"})
    redis.xdel(stream, entry_id)


def keep_for_ever(redis):
    redis.hset(keys.job(JOB), "status", "completed")


@pytest.mark.parametrize(
    ("leave", "of", "said"),
    [
        (leave_active, keys.active(USER), JOB),
        (leave_reservation, keys.spend(USER, NOW_MS), "reserves 50 "),
        (release_twice, keys.spend(USER, NOW_MS), "reserves -50 "),
        (leave_due, f"{JOB}/1.dev", "sweeper"),
        (leave_in_line, f"{keys.LINES}units:i:run::{USER}:", "not empty"),
        (leave_running, f"{keys.LINES}running:{USER}", "not empty"),
        (leave_deferred, keys.DEFERRED, "not empty"),
        (leave_unread, JOB, "its record"),
        (leave_pending, keys.records(JOB[4]), "1 entries"),
        (keep_for_ever, keys.job(JOB), "never expires"),
    ],
)
def test_each_thing_that_was_left_is_found(leave, of, said, redis_client):
    assert list(leftovers(redis_client)) == []

    leave(redis_client)

    (left,) = leftovers(redis_client)
    assert left.of == of
    assert said in left.what
