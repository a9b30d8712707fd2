"""What a provider's headers say of its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.groq.rate_limits import read_limits, read_retry_after_s, to_seconds
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


#: 30 November 2026, 12:00 UTC.
NOW = 1_796_040_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12),
        ("0.5", 0.5),
        (".5", 0.5),
        ("0", 0),
        ("-5", -5),
        ("1h2m3s", 3_723),
        ("1h 2m 3s", 3_723),
        ("2h", 7_200),
        ("1d", 86_400),
        ("1m30s", 90),
        ("6m0s", 360),
        ("1s500ms", 1.5),
        ("6ms", 0.006),
        ("250us", 0.00025),
        ("1796040030", 30),
        ("1796040030.5", 30.5),
        ("1796040030000", 30),
        ("2026-11-30T12:00:30Z", 30),
        ("2026-11-30T12:00:30.5+00:00", 30.5),
        ("2026-11-30T13:00:30+01:00", 30),
        ("2026-11-30T12:00:30", 30),
        ("Mon, 30 Nov 2026 12:00:30 GMT", 30),
        ("Mon, 30 Nov 2026 11:59:00 GMT", -60),
        ("Monday, 30-Nov-26 12:00:30 GMT", 30),
        ("  20  ", 20),
    ],
)
def test_times_are_read_in_every_form_that_servers_write(text, seconds):
    assert to_seconds(text, now=NOW) == pytest.approx(seconds, abs=1e-6)


NONSENSE = ["", "soon", "inf", "nan", "1e3", "0x10", "--5", "5 parsecs", "999999", "99999999999",
            "9" * 60, "9" * 5_000, "400d", "Mon, 99 Nov 2026 12:00:30 GMT", "2026-13-45T00:00:00Z",
            "9999-12-31T23:59:59Z", "Mon, 30 Nov 2099 12:00:30 GMT", "٣"]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_no_time(text):
    assert read_retry_after_s({"retry-after": text}, now=NOW) is None
    assert read_limits(GROQ | {"x-ratelimit-reset-tokens": text}, now=NOW).tokens is None


@given(st.text(max_size=40))
def test_any_text_is_a_time_ahead_or_none(text):
    wait_s = read_retry_after_s({"retry-after": text}, now=NOW)

    assert wait_s is None or 0 <= wait_s <= 7 * 86_400


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "Mon, 30 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "20s"}, 20.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
        ({}, None),
    ],
)
def test_wait_is_never_before_now(headers, wait_s):
    assert read_retry_after_s(headers, now=NOW) == wait_s


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-ratelimit-limit-tokens", "0"),
        ("x-ratelimit-limit-tokens", "many"),
        ("x-ratelimit-remaining-tokens", ""),
        ("x-ratelimit-reset-tokens", "soon"),
        ("x-ratelimit-reset-tokens", "-1"),
        ("x-ratelimit-limit-tokens", "9" * 30),
        ("x-ratelimit-limit-tokens", "-5"),
        ("x-ratelimit-remaining-tokens", "1e9"),
    ],
)
def test_limit_counts_as_unsaid_when_a_part_of_it_makes_no_sense(name, value):
    assert read_limits(GROQ | {name: value}).tokens is None


def test_nothing_is_known_when_nothing_is_said():
    assert read_limits({}) == RateLimits()


@pytest.mark.parametrize(("value", "remaining"), [("-3", 0), ("99999", 18_000), ("17.0", 17)])
def test_what_is_left_lies_between_nothing_and_the_limit(value, remaining):
    assert read_limits(GROQ | {"x-ratelimit-remaining-tokens": value}).tokens == Allowance(
        18_000, remaining, 0.00766
    )
