"""Kept answers in real Redis: found by every process, voided everywhere, a miss on failure."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from functools import partial

import pytest
from redis import Redis

from cache.response_cache import L1_SIZE, L1_TTL_S, L2_SIZE, L2_TTL_S, ResponseCache
from core.jobs import CacheControl
from core.settings import read_settings
from storage.connections import cache_redis_client
from tests.jobs import make_entry
from tests.services import start_redis, wait_until

USE = CacheControl()


@pytest.fixture
def new_cache(redis_server, redis_client):
    """Return a function that makes the cache of one more process."""
    clients = []

    def new_cache(url=redis_server.url, ttl_s=60.0, counts=None):
        client = cache_redis_client(read_settings(redis_url=url))
        clients.append(client)
        count = partial(_add, Counter() if counts is None else counts)
        return ResponseCache(client, ttl_s=ttl_s, count=count)

    yield new_cache
    for client in clients:
        client.connection_pool.disconnect()


def _add(counts, name, amount):
    counts[name] += amount


def test_sizes_and_ttls_are_those_documented():
    assert (L1_SIZE, L1_TTL_S) == (10_000, 300)
    assert (L2_SIZE, L2_TTL_S) == (5_000, 1_800)


def test_answer_is_found_by_every_process_and_then_in_its_memory(new_cache):
    mine, theirs = new_cache(), new_cache()
    entry = make_entry()

    mine.put("n", entry, USE)

    assert mine.get("n", USE).layer == "memory"
    assert [theirs.get("n", USE).layer for _ in range(2)] == ["redis", "memory"]
    assert theirs.get("n", USE).entry.answer == entry.answer


def test_turn_of_a_conversation_is_found_by_another_process(new_cache):
    mine, theirs = new_cache(), new_cache()

    mine.put("n", make_entry(), USE, is_session=True)

    found = [theirs.get("n", USE, is_session=True).layer for _ in range(2)]
    assert found == ["session", "memory"]


def test_ttl_in_redis_is_at_most_what_was_asked_for(new_cache, redis_client):
    new_cache(ttl_s=60).put("long", make_entry(), USE)
    new_cache(ttl_s=60).put("short", make_entry(), CacheControl(ttl_s=5))

    assert 50 < redis_client.ttl("aether:cache:long") <= 60
    assert 0 < redis_client.ttl("aether:cache:short") <= 5


def test_answer_expires_in_every_memory_at_the_same_time(new_cache):
    mine, theirs = new_cache(ttl_s=600.0), new_cache(ttl_s=600.0)
    mine.put("n", make_entry(), CacheControl(ttl_s=1))
    assert theirs.get("n", USE) is not None

    wait_until(lambda: mine.get("n", USE) is None, 5, "the answer to expire")

    assert theirs.get("n", USE) is None


def test_younger_answer_in_redis_serves_when_the_one_in_memory_is_too_old(new_cache):
    mine, theirs = new_cache(), new_cache()
    mine.put("n", make_entry(asked_ms=int(time.time() * 1000) - 50_000), USE)
    theirs.put("n", make_entry(), USE)

    assert mine.get("n", CacheControl(max_age_s=10)).layer == "redis"


def test_refreshed_answer_replaces_what_other_processes_remember(new_cache):
    mine, theirs = new_cache(), new_cache()
    mine.put("n", make_entry(cost_micros=1), USE)
    assert theirs.get("n", USE).entry.cost_micros == 1

    mine.put("n", make_entry(cost_micros=2), CacheControl(mode="refresh"))

    wait_until(lambda: theirs.get("n", USE).entry.cost_micros == 2, 5, "the new answer")


def test_encoded_answer_of_another_process_serves_like_one_from_redis(new_cache):
    mine, theirs = new_cache(), new_cache()
    entry = make_entry()
    data = mine.put("n", entry, USE)
    theirs.purge("user", "somebody else")

    hit = theirs.add_encoded("n", data, USE)

    assert (hit.layer, hit.entry.answer) == ("redis", entry.answer)
    assert theirs.get("n", USE).layer == "memory"
    assert theirs.add_encoded("n", data, CacheControl(max_age_s=-1)) is None
    theirs.purge("all")
    assert theirs.add_encoded("n", data, USE) is None


def test_answer_older_than_max_age_does_not_serve(new_cache):
    cache = new_cache()
    cache.put("n", make_entry(asked_ms=int(time.time() * 1000) - 20_000), USE)

    assert cache.get("n", CacheControl(max_age_s=10)) is None
    assert cache.get("n", CacheControl(max_age_s=60)).age_s == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    ("kind", "value", "is_voided"),
    [
        ("all", "", True),
        ("user", "usr_1", True),
        ("user", "usr_2", False),
        ("model", "m", True),
        ("model", "n", False),
        ("version", "v1", True),
        ("version", "v2", False),
    ],
)
def test_purge_voids_what_depends_on_it_in_every_process(kind, value, is_voided, new_cache):
    mine, theirs = new_cache(), new_cache()
    mine.put("n", make_entry(user_id="usr_1"), USE)
    assert theirs.get("n", USE) is not None

    assert mine.purge(kind, value)

    if is_voided:
        assert mine.get("n", USE) is None
        wait_until(lambda: theirs.get("n", USE) is None, 5, "the other process to read the purge")
    else:
        assert mine.get("n", USE) is not None


def test_later_of_two_purges_counts_when_redis_has_the_earlier_one(new_cache, redis_client):
    cache = new_cache()
    entry = make_entry(asked_ms=int(time.time() * 1000))
    cache.purge("all")
    redis_client.zadd("aether:cache:purges", {"all:": 1})

    cache.get("unknown", USE)
    cache.put("n", entry, USE)

    assert cache.get("n", USE) is None


def test_answer_is_not_kept_when_a_purge_came_while_it_was_made(new_cache):
    cache = new_cache()
    entry = make_entry()
    cache.purge("all")

    data = cache.put("n", entry, USE)

    assert (data, cache.get("n", USE)) == (None, None)
    cache.put("n", make_entry(asked_ms=int(time.time() * 1000) + 1_000), USE)
    assert cache.get("n", USE) is not None


def test_memory_still_serves_when_redis_is_away(new_cache, tmp_path):
    server = start_redis(tmp_path)
    cache = new_cache(server.url)
    cache.put("kept", make_entry(), USE)
    server.kill()

    found = [cache.get(name, USE) for name in ("kept", "unknown")]
    cache.put("new", make_entry(), USE)

    assert (found[0].layer, found[1]) == ("memory", None)
    assert cache.get("new", USE).layer == "memory"
    assert not cache.purge("all")
    assert cache.get("new", USE) is None


def test_few_lookups_wait_for_redis_when_it_hangs(new_cache, tmp_path):
    server = start_redis(tmp_path)
    counts = Counter()
    cache = new_cache(server.url, counts=counts)
    cache.get("warm", USE)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        found = [cache.get(f"unknown-{n}", USE) for n in range(50)]
    finally:
        os.kill(server.process.pid, signal.SIGCONT)

    assert found == [None] * 50
    # Three failures in a row make a pause of a second, in which Redis is not asked.
    assert 3 <= counts["cache.errors"] < len(found)
    server.stop()


def test_redis_is_asked_again_after_one_slow_answer(new_cache, redis_server):
    mine, theirs = new_cache(), new_cache()
    mine.put("n", make_entry(), USE)
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        missed = theirs.get("n", USE)
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)

    assert missed is None
    wait_until(lambda: redis_server.answers, 5, "Redis to go on")
    wait_until(lambda: theirs.get("n", USE), 10, "an answer of Redis in time")


def test_what_is_stored_is_counted(new_cache):
    counts = Counter()
    cache = new_cache(counts=counts)

    data = cache.put("n", make_entry(), USE)

    assert counts == {"cache.stored": 1, "cache.stored_bytes": len(data)}


def test_bytes_in_redis_that_are_no_entry_are_a_miss(new_cache, redis_client: Redis):
    redis_client.set("aether:cache:n", b"\xff\xfe garbage")

    assert new_cache().get("n", USE) is None
