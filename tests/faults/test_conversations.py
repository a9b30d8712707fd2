"""Conversations whose messages follow at once, while those who keep them are away."""

from __future__ import annotations

import pytest

from core.timing import iso_time, now_ms
from ops.drills.faults import frozen
from storage import keys
from tests.services import wait_until

_TURNS = [20, pytest.param(200, marks=pytest.mark.long)]


@pytest.fixture
def talk(crowd, settle):
    """Return the user who talks, and what sends a message and counts it among the crowd's jobs."""
    user = crowd.owner(crowd.submit(1)[0])

    def say(number, **more):
        message = f"Message {number} [[stub:tokens=5]]"
        job = user.submit(message, conversation_id="talk", **more).json()
        return crowd.adopt(job["id"], user)

    return user, say


@pytest.mark.parametrize("turns", _TURNS)
def test_no_message_forgets_when_records_come_late(turns, target, talk, settle):
    user, say = talk
    ids = []
    with frozen(target, "upkeep"):
        for number in range(turns // 2):
            ids.append(say(number))
            user.end_of(ids[-1])
    for number in range(turns // 2, turns):
        ids.append(say(number))
        user.end_of(ids[-1])

    ended = settle()

    jobs = [user.job(job_id) for job_id in ids]
    assert {ended[job_id] for job_id in ids} == {"completed"}
    assert [job["parent_id"] for job in jobs] == [None, *ids[:-1]]
    assert [job["history"] for job in jobs] == [
        {"given": number, "left_out": 0} for number in range(turns)
    ]


def test_messages_that_are_sent_before_the_last_one_ended_forget_nothing(talk, settle):
    user, say = talk

    ids = [say(number) for number in range(6)]
    ended = settle()

    assert {ended[job_id] for job_id in ids} == {"completed"}
    assert [user.job(job_id)["history"]["given"] for job_id in ids] == list(range(6))


def test_a_message_waits_for_mongodb_when_redis_has_let_the_one_before_go(
    target, redis, talk, settle
):
    user, say = talk
    first = say(1)
    user.end_of(first)
    settle()
    # As if its hour were over: the record alone has it now.
    redis.delete(keys.job(first))
    run_at_ms = now_ms() + 2_000
    second = say(2, run_at=iso_time(run_at_ms))

    def waits_again():
        due = redis.zscore(keys.DEFERRED, second)
        return due is not None and due > run_at_ms

    with frozen(target, "mongo"):
        wait_until(waits_again, 60, "the message to be given back")
    ended = settle()

    assert ended[second] == "completed"
    assert user.job(second)["history"] == {"given": 1, "left_out": 0}
