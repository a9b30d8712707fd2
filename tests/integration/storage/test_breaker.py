"""A circuit breaker that all workers share."""

from __future__ import annotations

import pytest

from core.settings import read_settings
from storage import keys
from storage.connections import redis_client
from storage.limits.breaker import SharedBreaker

MODEL = "some-model"


@pytest.fixture
def breakers(redis_client):
    """The breakers of two workers."""
    return SharedBreaker(redis_client), SharedBreaker(redis_client)


def fail(breaker, times):
    for _ in range(times):
        breaker.record(MODEL, is_success=False)


def end_pause(redis_client):
    redis_client.hset(keys.breaker(MODEL), "open_until", 1)


def test_model_is_allowed_when_it_failed_too_seldom_to_tell(breakers):
    fail(breakers[0], 19)

    assert breakers[1].allows(MODEL)


def test_model_is_refused_to_everyone_when_half_of_twenty_calls_failed(breakers):
    first, second = breakers
    for _ in range(10):
        first.record(MODEL, is_success=True)

    fail(first, 10)

    assert not first.allows(MODEL)
    assert not second.allows(MODEL)
    assert second.allows("another-model")


def test_model_is_allowed_when_most_calls_succeed(breakers):
    for _ in range(30):
        breakers[0].record(MODEL, is_success=True)

    fail(breakers[0], 10)

    assert breakers[0].allows(MODEL)


def test_one_caller_probes_when_the_pause_is_over(breakers, redis_client):
    fail(breakers[0], 20)
    end_pause(redis_client)

    allowed = [breaker.allows(MODEL) for breaker in breakers]

    assert sorted(allowed) == [False, True]


def test_circuit_closes_when_the_probe_succeeds(breakers, redis_client):
    first, second = breakers
    fail(first, 20)
    end_pause(redis_client)
    assert first.allows(MODEL)

    first.record(MODEL, is_success=True)

    assert first.allows(MODEL)
    assert second.allows(MODEL)


def test_circuit_stays_open_when_the_probe_fails(breakers, redis_client):
    first, second = breakers
    fail(first, 20)
    end_pause(redis_client)
    assert first.allows(MODEL)

    fail(first, 1)

    assert not first.allows(MODEL)
    assert not second.allows(MODEL)


def test_every_model_is_allowed_when_redis_is_away():
    breaker = SharedBreaker(redis_client(read_settings(redis_url="redis://127.0.0.1:9/0")))

    fail(breaker, 30)

    assert breaker.allows(MODEL)
