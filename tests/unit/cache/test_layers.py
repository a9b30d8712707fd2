"""A process's memory of answers, and a Redis that may fail."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import RedisError

from cache.layers import FailSoftRedis, MemoryLayer
from tests.jobs import make_entry

ENTRY = make_entry()


def test_memory_drops_the_least_recently_used_and_the_expired_entries():
    now = [0.0]
    layer = MemoryLayer(2, 10, clock=lambda: now[0])
    for fingerprint in ("a", "b"):
        layer.put(fingerprint, ENTRY, 100)
    layer.get("a")
    layer.put("c", ENTRY, 100)

    assert [layer.get(f) is not None for f in ("a", "b", "c")] == [True, False, True]
    now[0] = 10.0
    assert layer.get("a") is None


def test_memory_keeps_an_entry_for_the_shorter_of_both_ttls():
    now = [0.0]
    layer = MemoryLayer(2, 10, clock=lambda: now[0])

    layer.put("a", ENTRY, 1)

    now[0] = 0.9
    assert layer.get("a") == ENTRY
    now[0] = 1.0
    assert layer.get("a") is None


class FailingCommand:
    """A command that counts its calls and fails while `is_failing`."""

    def __init__(self):
        self.calls = 0
        self.is_failing = True

    def __call__(self, redis):
        self.calls += 1
        if self.is_failing:
            raise RedisError
        return "answer"


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def errors():
    return []


@pytest.fixture
def fail_soft(now, errors):
    return FailSoftRedis(Redis(), lambda: errors.append(1), clock=lambda: now[0])


def test_redis_is_left_alone_for_a_second_after_three_failures_in_a_row(fail_soft, now, errors):
    command = FailingCommand()

    answers = [fail_soft.call(command) for _ in range(5)]

    assert (answers, command.calls, len(errors)) == ([None] * 5, 3, 3)
    now[0], command.is_failing = 1.0, False
    assert fail_soft.call(command) == "answer"


def test_redis_is_not_left_alone_when_it_answers_between_failures(fail_soft, errors):
    command = FailingCommand()

    for _ in range(3):
        for command.is_failing in (True, True, False):
            answer = fail_soft.call(command)

    assert (answer, command.calls, len(errors)) == ("answer", 9, 6)
