"""Kept answers in real Redis: found by every process, voided everywhere, missed without harm."""

from __future__ import annotations

import os
import signal
import time

import msgspec
import pytest
from redis import Redis

from cache.entry import to_entry
from cache.layers import MemoryLayer
from cache.response_cache import L1_SIZE, L1_TTL_S, L2_SIZE, L2_TTL_S, ResponseCache
from core.jobs import CacheControl, JobStatus
from core.outcome import AgentReport, Answer, Outcome
from core.settings import read_settings
from storage.connections import cache_redis_client
from tests.jobs import make_spec
from tests.services import start_redis, wait_until

USE = CacheControl()
#: Far more than a lookup may take; what it guards against are waits of seconds.
SOON_S = 0.5


@pytest.fixture
def new_cache(redis_server, redis_client):
    """Return what makes another process's cache."""
    clients = []

    def new_cache(url=redis_server.url, ttl_s=60.0):
        client = cache_redis_client(read_settings(redis_url=url))
        clients.append(client)
        return ResponseCache(client, ttl_s=ttl_s)

    yield new_cache
    for client in clients:
        client.connection_pool.disconnect()


def make_entry(**changes):
    report = AgentReport(
        name="dev", status="completed", tier="quick", model="m", reason="r", cost_micros=7
    )
    answer = Answer(text="words", finish_reason="stop", agents=("dev",))
    outcome = Outcome(answer=answer, agents=(report,))
    entry = to_entry(make_spec(), JobStatus.COMPLETED, outcome, "v1")
    return msgspec.structs.replace(entry, **changes)


def test_sizes_and_lives_are_those_promised():
    assert (L1_SIZE, L1_TTL_S) == (10_000, 300)
    assert (L2_SIZE, L2_TTL_S) == (5_000, 1_800)


def test_answer_is_found_by_every_process_and_then_in_its_memory(new_cache):
    mine, theirs = new_cache(), new_cache()
    entry = make_entry()

    mine.keep("n", entry, USE)

    assert mine.look("n", USE).layer == "memory"
    assert [theirs.look("n", USE).layer for _ in range(2)] == ["redis", "memory"]
    assert theirs.look("n", USE).entry.answer == entry.answer


def test_turn_of_a_conversation_is_found_by_another_process(new_cache):
    mine, theirs = new_cache(), new_cache()

    mine.keep("n", make_entry(), USE, is_session=True)

    found = [theirs.look("n", USE, is_session=True).layer for _ in range(2)]
    assert found == ["session", "memory"]


def test_memory_forgets_what_was_used_least_and_what_is_old():
    now = [0.0]
    layer = MemoryLayer(2, 10, clock=lambda: now[0])
    for name in ("a", "b"):
        layer.put(name, make_entry(), 100)
    layer.get("a")
    layer.put("c", make_entry(), 100)

    assert [layer.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    now[0] = 10.0
    assert layer.get("a") is None


def test_life_in_redis_is_as_asked_at_most(new_cache, redis_client):
    new_cache(ttl_s=60).keep("long", make_entry(), USE)
    new_cache(ttl_s=60).keep("short", make_entry(), CacheControl(ttl_s=5))

    assert 50 < redis_client.ttl("aether:cache:long") <= 60
    assert 0 < redis_client.ttl("aether:cache:short") <= 5


def test_answer_ends_to_serve_in_every_memory_when_its_life_is_over(new_cache):
    mine, theirs = new_cache(ttl_s=600.0), new_cache(ttl_s=600.0)
    mine.keep("n", make_entry(), CacheControl(ttl_s=1))
    assert theirs.look("n", USE) is not None

    wait_until(lambda: mine.look("n", USE) is None, 5, "the end of its life")

    assert theirs.look("n", USE) is None


def test_young_answer_serves_when_this_process_remembers_an_old_one(new_cache):
    mine, theirs = new_cache(), new_cache()
    mine.keep("n", make_entry(asked_ms=int(time.time() * 1000) - 50_000), USE)
    theirs.keep("n", make_entry(), USE)

    assert mine.look("n", CacheControl(max_age_s=10)).layer == "redis"


def test_answer_made_anew_replaces_what_other_processes_remember(new_cache):
    mine, theirs = new_cache(), new_cache()
    mine.keep("n", make_entry(cost_micros=1), USE)
    assert theirs.look("n", USE).entry.cost_micros == 1

    mine.keep("n", make_entry(cost_micros=2), CacheControl(mode="refresh"))

    wait_until(lambda: theirs.look("n", USE).entry.cost_micros == 2, 5, "the new answer")


def test_answer_that_another_process_hands_over_serves_as_if_looked_up(new_cache):
    mine, theirs = new_cache(), new_cache()
    entry = make_entry()
    data = mine.keep("n", entry, USE)
    theirs.purge("user", "somebody else")

    hit = theirs.admit("n", data, USE, is_session=False)

    assert (hit.layer, hit.entry.answer) == ("redis", entry.answer)
    assert theirs.look("n", USE).layer == "memory"
    assert theirs.admit("n", data, CacheControl(max_age_s=-1), is_session=False) is None
    theirs.purge("all")
    assert theirs.admit("n", data, USE, is_session=False) is None


def test_old_answer_does_not_serve_who_wants_a_young_one(new_cache):
    cache = new_cache()
    cache.keep("n", make_entry(asked_ms=int(time.time() * 1000) - 20_000), USE)

    assert cache.look("n", CacheControl(max_age_s=10)) is None
    assert cache.look("n", CacheControl(max_age_s=60)).age_s == pytest.approx(20, abs=5)


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
    mine.keep("n", make_entry(user_id="usr_1"), USE)
    assert theirs.look("n", USE) is not None

    assert mine.purge(kind, value)

    if is_voided:
        assert mine.look("n", USE) is None
        wait_until(lambda: theirs.look("n", USE) is None, 5, "the other process to know")
    else:
        assert mine.look("n", USE) is not None


def test_later_purge_counts_when_redis_knows_of_an_earlier_one(new_cache, redis_client):
    cache = new_cache()
    entry = make_entry(asked_ms=int(time.time() * 1000))
    cache.purge("all")
    redis_client.zadd("aether:cache:purges", {"all:": 1})

    cache.stats()
    cache.keep("n", entry, USE)

    assert cache.look("n", USE) is None


def test_answer_that_was_being_made_during_a_purge_is_not_kept(new_cache):
    cache = new_cache()
    entry = make_entry()
    cache.purge("all")

    cache.keep("n", entry, USE)

    assert cache.look("n", USE) is None
    cache.keep("n", make_entry(asked_ms=int(time.time() * 1000) + 1_000), USE)
    assert cache.look("n", USE) is not None


def test_memory_goes_on_when_redis_is_away(new_cache, tmp_path):
    server = start_redis(tmp_path)
    cache = new_cache(server.url)
    cache.keep("kept", make_entry(), USE)
    server.kill()

    began = time.monotonic()
    found = [cache.look(name, USE) for name in ("kept", "unknown")]
    cache.keep("new", make_entry(), USE)

    assert time.monotonic() - began < SOON_S
    assert (found[0].layer, found[1]) == ("memory", None)
    assert cache.look("new", USE).layer == "memory"
    assert not cache.purge("all")
    assert cache.look("new", USE) is None


def test_lookup_gives_up_soon_when_redis_hangs(new_cache, tmp_path):
    server = start_redis(tmp_path)
    cache = new_cache(server.url)
    cache.look("warm", USE)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found = [cache.look(f"unknown-{n}", USE) for n in range(50)]
        took_s = time.monotonic() - began
    finally:
        os.kill(server.process.pid, signal.SIGCONT)

    assert found == [None] * 50
    assert took_s < SOON_S
    wait_until(lambda: cache.stats().get("errors", 0) > 0, 10, "the errors to be counted")
    server.stop()


def test_redis_is_asked_again_at_once_when_one_answer_of_it_was_slow(new_cache, redis_server):
    mine, theirs = new_cache(), new_cache()
    mine.keep("n", make_entry(), USE)
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        missed = theirs.look("n", USE)
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)

    assert missed is None
    wait_until(redis_server.answers, 5, "Redis to go on")
    assert theirs.look("n", USE).layer == "redis"


def test_request_that_is_looked_up_twice_is_counted_once(new_cache):
    web, worker = new_cache(), new_cache()
    for name in ("miss", "late"):
        web.look(name, USE)
    web.stats()
    worker.keep("late", make_entry(), USE)

    worker.look("miss", USE, is_again=True)
    worker.look("late", USE, is_again=True)

    counts = worker.stats()
    assert (counts["misses"], counts["hits:memory"]) == (1, 1)


def test_counts_of_all_processes_are_added_up(new_cache):
    mine, theirs = new_cache(), new_cache()
    mine.keep("n", make_entry(), USE)
    theirs.look("n", USE)
    theirs.look("n", USE)
    theirs.look("unknown", USE)

    theirs.stats()
    counts = mine.stats()

    assert counts["stores"] == counts["hits:redis"] == counts["hits:memory"] == 1
    assert counts["misses"] == 1
    assert counts["saved_micros"] == 14
    assert counts["stored_bytes"] > 50


def test_garbage_in_redis_is_a_miss(new_cache, redis_client: Redis):
    redis_client.set("aether:cache:n", b"\xff\xfe garbage")

    assert new_cache().look("n", USE) is None
