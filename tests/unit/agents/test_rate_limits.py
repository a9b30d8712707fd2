"""What a provider's headers say of its limits."""

from __future__ import annotations

import pytest

from agents.groq.rate_limits import read_limits, to_seconds
from core.chat import Allowance, RateLimits

GROQ = {
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-limit-tokens": "18000",
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-remaining-tokens": "17997",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-reset-tokens": "7.66ms",
}


def test_both_limits_are_read():
    found = read_limits(GROQ)

    assert found.requests == Allowance(14_400, 14_370, 179.56)
    assert found.tokens == Allowance(18_000, 17_997, 0.00766)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12", 12), ("0.5", 0.5), ("1h2m3s", 3_723), ("1d", 86_400), ("6m0s", 360), ("1s500ms", 1.5)],
)
def test_durations_are_read_as_servers_write_them(text, seconds):
    assert to_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-ratelimit-limit-tokens", "0"),
        ("x-ratelimit-limit-tokens", "many"),
        ("x-ratelimit-remaining-tokens", ""),
        ("x-ratelimit-reset-tokens", "soon"),
        ("x-ratelimit-reset-tokens", "nan"),
        ("x-ratelimit-reset-tokens", "-1"),
    ],
)
def test_limit_counts_as_unsaid_when_a_part_of_it_makes_no_sense(name, value):
    assert read_limits(GROQ | {name: value}).tokens is None


def test_nothing_is_known_when_nothing_is_said():
    assert read_limits({}) == RateLimits()
