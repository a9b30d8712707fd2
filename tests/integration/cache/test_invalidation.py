"""Purges and replaced answers, as another process learns of them from real Redis."""

from __future__ import annotations

import msgspec
import pytest

from cache.invalidation import Invalidation
from cache.layers import FailSoftRedis
from core.timing import now_ms
from tests.jobs import make_entry

ENTRY = make_entry(user_id="usr_1")


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def new_invalidation(redis_client, now):
    """Return a function that makes one more process's view; it notes what is dropped."""

    def new_invalidation(dropped=None):
        drop = [].append if dropped is None else dropped.append
        redis = FailSoftRedis(redis_client, on_error=lambda: None)
        return Invalidation(redis, longest_ttl_s=60, drop=drop, clock=lambda: now[0])

    return new_invalidation


def test_purge_is_known_elsewhere_after_half_a_second(new_invalidation, now):
    mine, theirs = new_invalidation(), new_invalidation()
    theirs.refresh()

    assert mine.purge("user", "usr_1")

    assert mine.is_purged(ENTRY)
    assert (theirs.refresh(), theirs.is_purged(ENTRY)) == (True, False)
    now[0] += 0.5
    assert (theirs.refresh(), theirs.is_purged(ENTRY)) == (True, True)


def test_purge_spares_answers_asked_for_later_when_it_is_read(new_invalidation):
    new_invalidation().purge("all", "")
    later = msgspec.structs.replace(ENTRY, asked_ms=now_ms() + 1_000)
    started_later = new_invalidation()

    started_later.refresh()

    assert started_later.is_purged(ENTRY)
    assert not started_later.is_purged(later)


def test_replaced_answer_is_dropped_elsewhere_once_and_after_half_a_second(new_invalidation, now):
    dropped = []
    mine, theirs = new_invalidation(), new_invalidation(dropped)
    theirs.refresh()

    mine.publish_replaced("f")

    theirs.refresh()
    assert dropped == []
    for _ in range(2):
        now[0] += 0.5
        theirs.refresh()
    assert dropped == ["f"]
