"""The budget towards the provider that all workers share."""

from __future__ import annotations

import itertools
import time

import pytest

from core.chat import Allowance, RateLimits
from core.settings import read_settings
from storage import keys
from storage.connections import redis_client as connect
from storage.limits.upstream_budget import UpstreamBudget
from tests.services import wait_until

MODEL = "some-model"
LONG_S = 1_000.0
NOTHING = RateLimits()


@pytest.fixture
def new_budget(redis_client):
    """Makes the budget of one more worker."""

    def make(requests=None, tokens=None):
        return UpstreamBudget(redis_client, requests_per_minute=requests, tokens_per_minute=tokens)

    return make


def book(budget, name, tokens=1, longest_wait_s=LONG_S):
    return budget.book(MODEL, name, tokens=tokens, longest_wait_s=longest_wait_s)


def start_of(budget, name, tokens=1):
    """Return when the call may start, exact but for the time that booking it takes."""
    asked = time.monotonic()
    return asked + book(budget, name, tokens)


def settle(budget, unused_tokens=0, limits=NOTHING, closed_for_s=0.0):
    budget.settle(
        MODEL, unused_tokens=unused_tokens, limits=limits, age_s=0.0, closed_for_s=closed_for_s
    )


def test_nothing_is_kept_when_no_limit_is_known(new_budget, redis_client):
    budget = new_budget()

    waits = [book(budget, str(number)) for number in range(100)]
    settle(budget)

    assert set(waits) == {0.0}
    assert redis_client.keys() == []


def test_requests_of_all_workers_stay_within_a_minute_s_limit(new_budget):
    workers = [new_budget(requests=600), new_budget(requests=600)]

    starts = [start_of(workers[number % 2], str(number)) for number in range(700)]

    most = max(sum(1 for start in starts if first <= start < first + 59) for first in starts)
    assert 550 <= most <= 600


def test_calls_start_in_the_order_of_booking_whatever_their_size(new_budget):
    budget = new_budget(requests=60, tokens=6_000)
    sizes = [4_000, 10, 3_000, 10, 10, 5_000, 10, 10]

    starts = [start_of(budget, str(number), size) for number, size in enumerate(sizes)]

    assert all(earlier <= later + 1 for earlier, later in itertools.pairwise(starts))


def test_large_call_does_not_starve_when_small_ones_keep_coming(new_budget):
    budget = new_budget(tokens=6_000)
    book(budget, "first", 1_000)
    large = book(budget, "large", 5_000)

    for number in range(50):
        book(budget, f"small {number}", 100)

    assert book(budget, "large", 5_000) <= large


def test_call_larger_than_the_limit_starts_when_nothing_was_used(new_budget):
    budget = new_budget(tokens=1_000)

    assert book(budget, "huge", 50_000) == 0
    assert book(budget, "next", 1, longest_wait_s=5_000) > 3_000


def test_place_is_kept_and_used_once_when_the_call_comes_back(new_budget):
    first, second = new_budget(requests=30), new_budget(requests=30)
    for number in range(3):
        book(first, str(number))

    told = book(first, "job")
    wait_until(lambda: book(second, "job") == 0, 10, "its turn")

    assert told > 0
    assert book(second, "job") > 0


def test_call_that_cannot_wait_books_nothing(new_budget):
    budget = new_budget(tokens=600)
    book(budget, "first", 600)

    refused = book(budget, "impatient", 600, longest_wait_s=1)
    patient = book(budget, "patient", 1)

    assert refused > 1
    assert patient <= refused


def test_those_who_wait_move_up_when_a_call_used_less_than_it_booked(new_budget):
    budget = new_budget(tokens=6_000)
    book(budget, "first", 4_000)
    before = [book(budget, name, 1_000) for name in ("second", "third")]

    settle(budget, unused_tokens=3_000)

    after = [book(budget, name, 1_000) for name in ("second", "third")]
    assert all(0 <= now <= then - 30 for now, then in zip(after, before, strict=True))
    assert after[0] < after[1]


def test_those_who_wait_move_back_when_a_call_used_more(new_budget):
    budget = new_budget(tokens=6_000)
    book(budget, "first", 600)
    before = book(budget, "second", 600)

    settle(budget, unused_tokens=-3_000)

    assert book(budget, "second", 600) > before + 20


def test_nobody_starts_when_the_provider_has_refused(new_budget):
    first, second = new_budget(requests=60), new_budget(requests=60)

    settle(first, closed_for_s=30)

    waits = [book(second, str(number)) for number in range(16)]
    assert 20 < waits[0] <= 30
    assert waits[-1] > 31


def test_kept_places_wait_too_and_keep_their_order_when_the_provider_has_refused(new_budget):
    budget = new_budget(tokens=6_000)
    book(budget, "first", 1_000)
    before = [book(budget, name, 1_000) for name in ("second", "third")]

    settle(budget, closed_for_s=30)

    after = [book(budget, name, 1_000) for name in ("second", "third")]
    assert all(now > then + 25 for now, then in zip(after, before, strict=True))
    assert after[0] < after[1]


def test_limits_are_learned_when_the_provider_tells_them(new_budget):
    budget = new_budget()
    told = RateLimits(tokens=Allowance(limit=6_000, remaining=1_000, reset_s=50.0))

    settle(budget, limits=told)

    assert book(budget, "small", 900) == 0
    assert book(budget, "large", 5_000) > 30


def test_provider_s_day_of_requests_is_no_minute(new_budget):
    budget = new_budget()
    told = RateLimits(requests=Allowance(limit=1_000, remaining=1, reset_s=86_313.6))

    settle(budget, limits=told)

    assert book(budget, "last one") == 0
    assert 60 < book(budget, "next one") < 120


def test_full_budget_costs_redis_nothing_for_long(new_budget, redis_client):
    budget = new_budget(requests=600)

    book(budget, "one")

    assert 0 < redis_client.pttl(keys.budget(MODEL)) <= 310_000


def test_call_goes_ahead_when_redis_is_away():
    away = connect(read_settings(redis_url="redis://127.0.0.1:9/0"))
    budget = UpstreamBudget(away, requests_per_minute=1, tokens_per_minute=1)

    waits = [book(budget, str(number), 100) for number in range(3)]
    settle(budget)

    assert waits == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", ["requests", "tokens"])
def test_a_limit_that_no_provider_sets_holds_nobody_up(redis_client, kind):
    budget = UpstreamBudget(redis_client, requests_per_minute=None, tokens_per_minute=None)
    claimed = RateLimits(**{kind: Allowance(limit=1, remaining=0, reset_s=80_000.0)})

    budget.settle("m", unused_tokens=0, limits=claimed, age_s=0.0, closed_for_s=0.0)

    waits = [budget.book("m", f"b{n}", tokens=2_000, longest_wait_s=60.0) for n in range(5)]
    assert waits == [0.0] * 5
