"""Parsing of a provider's `x-ratelimit-*` headers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from core.chat import Allowance, RateLimits

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def read_limits(headers: Mapping[str, str]) -> RateLimits:
    """Return the limits in the headers; one with missing or malformed headers is None."""
    return RateLimits(_read(headers, "requests"), _read(headers, "tokens"))


def _read(headers: Mapping[str, str], kind: str) -> Allowance | None:
    try:
        limit = int(headers[f"x-ratelimit-limit-{kind}"])
        remaining = int(headers[f"x-ratelimit-remaining-{kind}"])
        reset_s = to_seconds(headers[f"x-ratelimit-reset-{kind}"])
    except (KeyError, ValueError):
        return None
    return Allowance(limit, max(0, remaining), reset_s) if limit > 0 else None


def to_seconds(text: str) -> float:
    """Parse a duration such as `2m59.56s`, `7.66ms` or, in seconds, `12`.

    Raises:
        ValueError: the text is no duration.
    """
    if _DURATION.fullmatch(text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"not a duration: {text!r}")
    return seconds
