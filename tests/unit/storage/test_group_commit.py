"""Writers that share a batch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import StoreUnavailable
from storage.records.group_commit import GroupCommit
from tests.services import wait_until


class Store:
    """Holds every write until it is let go; fails when told to."""

    def __init__(self, *, is_failing=False):
        self.batches = []
        self.gate = threading.Event()
        self.is_failing = is_failing

    def write(self, items):
        self.batches.append(list(items))
        self.gate.wait(5)
        if self.is_failing:
            raise StoreUnavailable
        if "bad" in items:
            raise OverflowError


def commit_all(store, commits, count):
    """Commit so many items at once, the first of which holds the store; return the outcomes."""
    with ThreadPoolExecutor(count) as pool:
        first = pool.submit(commits.commit, 0)
        wait_until(lambda: store.batches, 5, "the first batch")
        rest = [pool.submit(commits.commit, number) for number in range(1, count)]
        wait_until(lambda: len(commits._waiting) == count - 1, 5, "the others to wait")
        store.gate.set()
        return [future.exception() for future in (first, *rest)]


def test_lone_item_is_written_at_once():
    store = Store()
    store.gate.set()

    GroupCommit(store.write, max_batch=10).commit("a")

    assert store.batches == [["a"]]


def test_items_that_meet_a_batch_in_flight_share_the_next_ones():
    store = Store()

    outcomes = commit_all(store, GroupCommit(store.write, max_batch=4), 8)

    assert outcomes == [None] * 8
    assert [len(batch) for batch in store.batches] == [1, 4, 3]
    assert sorted(item for batch in store.batches for item in batch) == list(range(8))


def test_everyone_who_waits_hears_of_a_failure_at_once():
    store = Store(is_failing=True)

    outcomes = commit_all(store, GroupCommit(store.write, max_batch=4), 8)

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 8
    assert store.batches == [[0]]


def test_next_item_is_tried_afresh_after_a_failure():
    store = Store(is_failing=True)
    store.gate.set()
    commits = GroupCommit(store.write, max_batch=4)
    with pytest.raises(StoreUnavailable):
        commits.commit(1)
    store.is_failing = False

    commits.commit(2)

    assert store.batches == [[1], [2]]


def test_only_the_writer_of_a_bad_item_fails_when_it_shares_a_batch():
    store = Store()
    commits = GroupCommit(store.write, max_batch=4)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(commits.commit, "first")
        wait_until(lambda: store.batches, 5, "the first batch")
        rest = [pool.submit(commits.commit, item) for item in ("good", "bad", "fine")]
        wait_until(lambda: len(commits._waiting) == 3, 5, "the others to wait")
        store.gate.set()
        outcomes = [type(future.exception()) for future in (first, *rest)]

    assert outcomes == [type(None), type(None), OverflowError, type(None)]
