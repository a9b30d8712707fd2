"""What all processes have measured in a window of time, read from Redis."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from redis.exceptions import RedisError

from core.errors import CoordinatorUnavailable
from core.histogram import count_below, merged, quantile
from monitoring.families import FAMILIES
from monitoring.metrics import SLOTS, TOTAL, Slots

if TYPE_CHECKING:
    from redis import Redis

    from monitoring.families import Family

#: Windows by their name: the slots that they are read from, and how many of them.
WINDOWS: Final[Mapping[str, tuple[Slots, int]]] = {
    "15m": (SLOTS[0], 15),
    "1h": (SLOTS[0], 60),
    "24h": (SLOTS[1], 144),
    "7d": (SLOTS[2], 84),
}
#: A slot this old gets nothing more: a batch is added under the time at which Redis takes it.
_CLOSED_AFTER_S: Final = 2

Fields = dict[str, int]


class Spread(Struct, frozen=True):
    """How values lie: their number and sum, and how many are in each bucket of core/histogram."""

    buckets: Mapping[int, int]
    sum: float

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count else None

    def quantile(self, part: float) -> float | None:
        """Return a percentile in the metric's unit, within 2 %; None without values."""
        return quantile(self.buckets, part)

    def share_below(self, value: float) -> float | None:
        """Return which part of the values is at most so much; None without values."""
        return count_below(self.buckets, value) / self.count if self.count else None


class Reading(Struct, frozen=True):
    """All metrics of one window.

    Attributes:
        seconds: how long the window is.
        counts: by metric and labels.
        spreads: of histograms, by metric and labels.
    """

    seconds: int
    counts: Mapping[str, Mapping[tuple[str, ...], int]]
    spreads: Mapping[str, Mapping[tuple[str, ...], Spread]]

    def total(self, family: Family, **labels: str) -> float:
        """Return the sum of a counter in the unit of its name, over all other labels."""
        found = self.counts.get(family.name, {})
        chosen = (amount for series, amount in found.items() if _has(family, series, labels))
        return sum(chosen) / family.scale

    def spread(self, family: Family, **labels: str) -> Spread:
        """Return the values of a histogram, over all other labels."""
        found = self.spreads.get(family.name, {})
        chosen = [spread for series, spread in found.items() if _has(family, series, labels)]
        return Spread(merged(s.buckets for s in chosen), sum(s.sum for s in chosen))

    def values_of(self, family: Family, label: str) -> list[str]:
        """Return the values that a label has in this window, sorted."""
        at = family.labels.index(label)
        series = (*self.counts.get(family.name, ()), *self.spreads.get(family.name, ()))
        return sorted({labels[at] for labels in series})


class Readings:
    """Reads windows; raises CoordinatorUnavailable when Redis is away.

    Closed slots do not change and are read once a process; thread-safe, as a repeat at worst.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._closed: dict[str, Fields] = {}

    def window(self, name: str) -> Reading:
        """Return what was measured in a window of `WINDOWS`, the current slot among it."""
        slots, number = WINDOWS[name]
        with _errors():
            now_s = self._now_s()
            newest = now_s // slots.length_s
            names = [_key(slots, n) for n in range(newest - number + 1, newest + 1)]
            found = self._read(names)
        if now_s % slots.length_s > _CLOSED_AFTER_S:
            closed = dict(zip(names[:-1], found[:-1], strict=True))
            kept = {
                key: self._closed[key] for key in self._closed if not key.startswith(_of(slots))
            }
            self._closed = kept | closed
        return _reading(found, slots.length_s * (number - 1) + now_s % slots.length_s)

    def since_ever(self) -> Reading:
        """Return what was measured since Redis lost its data last."""
        with _errors():
            return _reading(self._read([TOTAL]), 0)

    def _now_s(self) -> int:
        return int(self._redis.time()[0])

    def _read(self, names: list[str]) -> list[Fields]:
        missing = [name for name in names if name not in self._closed]
        with self._redis.pipeline(transaction=False) as pipe:
            for name in missing:
                pipe.hgetall(name)
            answers: list[dict[bytes, bytes]] = pipe.execute()
        found = {
            name: {field.decode(): int(amount) for field, amount in answer.items()}
            for name, answer in zip(missing, answers, strict=True)
        }
        return [found[name] if name in found else self._closed[name] for name in names]


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise CoordinatorUnavailable from error


def _of(slots: Slots) -> str:
    return f"aether:metrics:{slots.name}:"


def _key(slots: Slots, number: int) -> str:
    return f"{_of(slots)}{number}"


def _reading(slots: list[Fields], seconds: int) -> Reading:
    fields: Counter[str] = Counter()
    for slot in slots:
        fields.update(slot)
    counts: dict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
    buckets: dict[tuple[str, ...], dict[int, int]] = defaultdict(dict)
    sums: dict[tuple[str, ...], int] = {}
    for field, amount in fields.items():
        series, _, bucket = field.partition("#")
        name, *labels = series.split("|")
        if bucket == "sum":
            sums[name, *labels] = amount
        elif bucket:
            buckets[name, *labels][int(bucket)] = amount
        else:
            counts[name][tuple(labels)] = amount
    return Reading(seconds, counts, _spreads(buckets, sums))


def _spreads(
    buckets: Mapping[tuple[str, ...], dict[int, int]], sums: Mapping[tuple[str, ...], int]
) -> dict[str, dict[tuple[str, ...], Spread]]:
    found: dict[str, dict[tuple[str, ...], Spread]] = defaultdict(dict)
    for (name, *labels), held in buckets.items():
        family = FAMILIES.get(name)
        scale = family.scale if family else 1
        found[name][tuple(labels)] = Spread(held, sums.get((name, *labels), 0) / scale)
    return found


def _has(family: Family, series: tuple[str, ...], labels: Mapping[str, str]) -> bool:
    # An older version may have had other labels.
    named = dict(zip(family.labels, series, strict=False))
    return all(named.get(label) == value for label, value in labels.items())


def series_of(
    found: Mapping[tuple[str, ...], Any], family: Family
) -> Iterator[tuple[dict[str, str], Any]]:
    """Yield each series of a metric as its labels by name, and what it has."""
    for labels, value in sorted(found.items()):
        yield dict(zip(family.labels, labels, strict=False)), value
