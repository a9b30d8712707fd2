"""Histograms of durations and sizes that merge by addition, with a bound on their relative error.

Buckets grow by a constant factor, so that a percentile differs from the exact one by at most 2 %
of its value (DDSketch, Masson, Rim and Lee, PVLDB 12, 2019, section 2).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

#: How far a percentile may lie from the exact one, as a part of it.
RELATIVE_ERROR: Final = 0.02
_GROWTH: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH: Final = math.log(_GROWTH)
#: Values between a millionth and a billion are told apart; others count with these.
_LEAST: Final = math.ceil(math.log(1e-6) / _LOG_GROWTH)
_MOST: Final = math.ceil(math.log(1e9) / _LOG_GROWTH)
#: Zero, and what is less than every other bucket holds.
ZERO: Final = _LEAST - 1


def bucket_of(value: float) -> int:
    """Return the bucket that a value counts in; a negative one counts as zero.

    Raises:
        ValueError: the value is not a number.
    """
    if math.isnan(value):
        raise ValueError("a histogram takes numbers only")
    if value < 1e-6:
        return ZERO
    return _MOST if value >= 1e9 else math.ceil(math.log(value) / _LOG_GROWTH)


def upper_bound(bucket: int) -> float:
    """Return the largest value that counts in a bucket."""
    return 0.0 if bucket <= ZERO else _GROWTH**bucket


def quantile(buckets: Mapping[int, int], part: float) -> float | None:
    """Return the value below which the given part of all lies; None where there is none.

    Args:
        buckets: how many values each bucket holds.
        part: from 0 to 1; 0.95 for the 95th percentile.
    """
    count = sum(buckets.values())
    if not count:
        return None
    # The rank is the one that `statistics.quantiles` calls inclusive, rounded down.
    rank, seen = int(part * (count - 1)), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen > rank:
            return _middle(bucket)
    return _middle(max(buckets))


def count_below(buckets: Mapping[int, int], value: float) -> int:
    """Return how many values are at most the given one, whose whole bucket counts."""
    limit = bucket_of(value)
    return sum(count for bucket, count in buckets.items() if bucket <= limit)


def merged(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return the histogram of all values of the given ones."""
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _middle(bucket: int) -> float:
    """Return the value whose relative distance to both ends of the bucket is the same."""
    return 0.0 if bucket <= ZERO else 2 * _GROWTH**bucket / (_GROWTH + 1)
