"""Parsing of the headers in which a provider tells its limits and when to come back."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from core.chat import Allowance, RateLimits

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|µs|ns|s|m|h|d)\s*", re.ASCII)
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_SECONDS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001,
    "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0,
}  # fmt: skip
_NUMBER: Final = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_COUNT: Final = re.compile(r"(\d{1,12})(?:\.0*)?", re.ASCII)
#: A number from here on (in 2001) is a time of the Unix epoch, and from a thousand times as much
#: on one in milliseconds.
_EPOCH_FROM_S: Final = 1e9
#: No limit is told further ahead; what says so is no time at all.
_LONGEST_S: Final = 7 * 86_400.0
_MAX_HEADER_CHARS: Final = 64


def read_limits(headers: Mapping[str, str], *, now: float | None = None) -> RateLimits:
    """Return the limits in the headers; one with missing or malformed headers is None.

    Args:
        now: seconds since the epoch; the clock's where None.
    """
    now = time.time() if now is None else now
    return RateLimits(_read(headers, "requests", now), _read(headers, "tokens", now))


def read_retry_after_s(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Return the seconds to wait that the headers name, at least 0; None where they name none."""
    now = time.time() if now is None else now
    for name, unit in (("retry-after-ms", "ms"), ("retry-after", "")):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, to_seconds(value.strip() + unit, now=now))
        except ValueError:
            continue
    return None


def _read(headers: Mapping[str, str], kind: str, now: float) -> Allowance | None:
    try:
        limit = _to_count(headers[f"x-ratelimit-limit-{kind}"])
        remaining = headers[f"x-ratelimit-remaining-{kind}"].strip()
        left = 0 if remaining.startswith("-") else _to_count(remaining)
        reset_s = to_seconds(headers[f"x-ratelimit-reset-{kind}"], now=now)
    except (KeyError, ValueError):
        return None
    if limit <= 0 or reset_s < 0:
        return None
    return Allowance(limit, min(left, limit), reset_s)


def _to_count(text: str) -> int:
    found = _COUNT.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a count")
    return int(found[1])


def to_seconds(text: str, *, now: float) -> float:
    """Parse how far ahead of `now` a text points: in the past it is negative.

    It may be a duration (`2m59.56s`, `7.66ms`), a number of seconds (`12`, `0.5`), a time of the
    epoch in seconds or milliseconds, an ISO 8601 time or an HTTP date.

    Raises:
        ValueError: the text is none of these, or points more than a week ahead.
    """
    text = text.strip()
    if len(text) > _MAX_HEADER_CHARS:
        raise ValueError("too long for a time")
    seconds = _parse(text, now)
    if not (math.isfinite(seconds) and seconds <= _LONGEST_S):
        raise ValueError("not a time ahead")
    return seconds


def _parse(text: str, now: float) -> float:
    if _DURATION.fullmatch(text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _EPOCH_FROM_S * 1_000:
            number /= 1_000
        return number - now if number >= _EPOCH_FROM_S else number
    return _to_time(text).timestamp() - now


def _to_time(text: str) -> datetime:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        # Both kinds of time are in UTC where they name no zone.
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    raise ValueError("not a time")
