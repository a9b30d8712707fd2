"""How much a user and a process hold open, and when Redis counts as full."""

from __future__ import annotations

import pytest

from core.errors import CoordinatorFull, TooManyWaiting
from core.limit_errors import TooManyStreams
from web.admission import CoordinatorMemory, OpenRequests
from web.file_limit import raise_file_limit


def test_a_user_holds_so_many_and_gets_places_back():
    open_requests = OpenRequests(of_user=2, in_all=10)
    leave = open_requests.enter("ann")
    open_requests.enter("ann")

    with pytest.raises(TooManyStreams, match="2 streams"):
        open_requests.enter("ann")
    open_requests.enter("bob")
    leave()
    leave()

    open_requests.enter("ann")
    with pytest.raises(TooManyStreams):
        open_requests.enter("ann")


def test_all_users_together_hold_so_many():
    open_requests = OpenRequests(of_user=2, in_all=3)
    for user in ("a", "a", "b"):
        open_requests.enter(user)

    with pytest.raises(TooManyWaiting):
        open_requests.enter("c")


def test_a_wait_that_fails_gives_its_place_back():
    open_requests = OpenRequests(of_user=1)

    for _ in range(2):
        with pytest.raises(RuntimeError), open_requests.held("ann"):
            raise RuntimeError


class Memory:
    def __init__(self, used, most):
        self.used, self.most, self.asked = used, most, 0

    def info(self, section):
        self.asked += 1
        return {"used_memory": self.used, "maxmemory": self.most}


@pytest.mark.parametrize(
    ("used", "most", "is_full"), [(91, 100, True), (90, 100, False), (9, 0, False)]
)
def test_redis_counts_as_full_above_nine_tenths(used, most, is_full):
    memory = CoordinatorMemory(Memory(used, most))

    if is_full:
        with pytest.raises(CoordinatorFull):
            memory.require_room()
    else:
        memory.require_room()


def test_redis_is_looked_at_every_two_seconds():
    now = [0.0]
    redis = Memory(99, 100)
    memory = CoordinatorMemory(redis, clock=lambda: now[0])

    for at, used in ((0.0, 99), (1.9, 1), (2.0, 1), (3.9, 99)):
        now[0], redis.used = at, used
        if at < 2:
            with pytest.raises(CoordinatorFull):
                memory.require_room()
        else:
            memory.require_room()

    assert redis.asked == 2


def test_too_few_files_are_said_with_their_numbers(capsys):
    assert raise_file_limit(10)
    assert not raise_file_limit(10**9)

    assert "needs 1000000500 for 1000000000 connections" in capsys.readouterr().err
