"""What follows from a model's failure."""

from __future__ import annotations

import pytest

from agents.retry_policy import AskAnother, ComeBack, GiveUp, TryAgain, backoff_s, next_step
from core.model_errors import (
    ModelMissing,
    ModelTimeout,
    NoAnswer,
    PermanentModelError,
    RateLimited,
    TransientModelError,
)


@pytest.mark.parametrize(
    ("error", "tries", "left_s", "step"),
    [
        (PermanentModelError(), 1, 60, GiveUp()),
        (ModelMissing(), 1, 60, AskAnother()),
        (TransientModelError(), 3, 60, AskAnother()),
        (ModelTimeout(), 3, 60, AskAnother()),
        (TransientModelError(), 1, 0.5, GiveUp()),
        (RateLimited(retry_after_s=1.5), 1, 60, TryAgain(1.5)),
        (RateLimited(retry_after_s=1.5), 2, 60, TryAgain(1.5)),
        (RateLimited(retry_after_s=1.5), 3, 60, ComeBack(2.0)),
        (RateLimited(retry_after_s=1.5), 3, 2.9, GiveUp()),
        (RateLimited(retry_after_s=0), 3, 60, AskAnother()),
        (TransientModelError(retry_after_s=20), 1, 60, ComeBack(20)),
        (TransientModelError(retry_after_s=1.5), 1, 60, TryAgain(1.5)),
        (NoAnswer(), 2, 60, AskAnother()),
        (RateLimited(retry_after_s=20), 1, 60, ComeBack(20)),
        (RateLimited(retry_after_s=60), 1, 60, GiveUp()),
        (RateLimited(), 3, 60, AskAnother()),
    ],
)
def test_step_follows_from_the_error_the_tries_and_the_time_left(error, tries, left_s, step):
    assert next_step(error, tries=tries, left_s=left_s) == step


@pytest.mark.parametrize("error", [TransientModelError(), ModelTimeout(), NoAnswer()])
def test_same_model_is_asked_again_after_a_wait_when_it_failed_once(error):
    step = next_step(error, tries=1, left_s=60)

    assert isinstance(step, TryAgain)
    assert 0 <= step.wait_s <= 0.5


def test_waits_spread_over_the_whole_range_and_stay_within_bounds():
    waits = [backoff_s(tries) for tries in range(1, 12) for _ in range(100)]

    assert max(waits) <= 4.0
    assert min(waits) < 0.1


@pytest.mark.parametrize("wait_s", [None, 0.0, 0.01, 0.9])
def test_limit_is_never_answered_by_a_call_at_once(wait_s):
    steps = [next_step(RateLimited(retry_after_s=wait_s), tries=1, left_s=60) for _ in range(50)]

    assert all(isinstance(step, TryAgain) and 0.25 <= step.wait_s <= 2.0 for step in steps)
    assert len({step.wait_s for step in steps}) > 1 or wait_s == 0.9


@pytest.mark.parametrize("wait_s", [None, 0.0, 0.5])
def test_calls_are_counted_when_the_named_wait_is_none(wait_s):
    tries = 1
    while isinstance(
        next_step(RateLimited(retry_after_s=wait_s), tries=tries, left_s=60), TryAgain
    ):
        tries += 1

    assert tries == 3
