"""Counters in real Redis: added up over processes, kept through an outage, one per job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from core.errors import CoordinatorUnavailable
from core.outcome import CacheUse, Outcome, Savings
from monitoring.counters import Counters
from tests.services import start_redis, wait_until


def today():
    return datetime.now(UTC).date()


def test_counts_of_all_processes_are_added_up(redis_client):
    mine, theirs = Counters(redis_client), Counters(redis_client)
    mine.count("a")
    theirs.count("a", 2)
    theirs.count("b", -1)

    mine.flush()
    theirs.flush()

    wait_until(lambda: mine.read(today()) == {"a": 3, "b": -1}, 5, "both flushes")
    assert mine.read(today() - timedelta(days=1)) == {}
    assert 0 < redis_client.ttl(redis_client.keys("aether:counters:*")[0]) <= 8 * 24 * 3600


def test_counts_reach_redis_by_themselves_when_a_process_goes_on_counting(redis_client):
    counters = Counters(redis_client)

    counters.count("a")
    wait_until(lambda: counters.read(today()) == {"a": 1}, 5, "the first count")
    counters.count("a")

    wait_until(lambda: counters.read(today()) == {"a": 2}, 5, "the second count")


def test_counts_are_kept_when_redis_is_away(tmp_path):
    server = start_redis(tmp_path)
    with Redis.from_url(server.url, retry=None) as redis:
        counters = Counters(redis)
        server.kill()
        counters.count("a")
        counters.flush()
        with pytest.raises(CoordinatorUnavailable):
            counters.read(today())

        server.start()

        wait_until(lambda: counters.read(today()) == {"a": 1}, 10, "the count")
    server.stop()


def test_job_counts_once_by_what_the_cache_did_for_it(redis_client):
    counters = Counters(redis_client)
    saved = Savings(cache_micros=7)
    uses = [
        CacheUse(status="hit", layer="redis"),
        CacheUse(status="hit", layer="memory"),
        CacheUse(status="coalesced"),
        CacheUse(status="miss"),
        CacheUse(status="bypass"),
    ]

    for use in uses:
        is_saving = use.status in ("hit", "coalesced")
        counters.count_cache_use(Outcome(cache=use, savings=saved if is_saving else Savings()))
    counters.flush()

    expected = {
        "cache.hit.redis": 1,
        "cache.hit.memory": 1,
        "cache.coalesced": 1,
        "cache.miss": 1,
        "cache.saved_micros": 21,
    }
    wait_until(lambda: counters.read(today()) == expected, 5, "the counts")
