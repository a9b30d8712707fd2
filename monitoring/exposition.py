"""Metrics as Prometheus reads them: text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.histogram import upper_bound
from monitoring.families import FAMILIES
from monitoring.readings import series_of

if TYPE_CHECKING:
    from monitoring.families import Family
    from monitoring.readings import Reading, Spread

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Prometheus gets every 17th bound of our buckets (each about twice the one before), of values
#: from half a millisecond to a quarter of an hour in seconds, or as many tokens.
_BOUNDS: Final = tuple(range(-187, 171, 17))


class Gauge(Struct, frozen=True):
    """A value that is looked up when it is asked for.

    Attributes:
        values: by labels, each as name and value.
    """

    name: str
    help: str
    values: Mapping[tuple[tuple[str, str], ...], float] | Mapping[tuple[tuple[str, str]], float]


def exposition(reading: Reading, gauges: Iterable[Gauge]) -> str:
    """Return all metrics as text; counters and histograms as the reading has them."""
    lines: list[str] = []
    for family in FAMILIES.values():
        lines += _head(family.name, family.kind, family.help)
        lines += _counter(reading, family) if family.kind == "counter" else _all(reading, family)
    for gauge in gauges:
        lines += _head(gauge.name, "gauge", gauge.help)
        lines += [
            f"{gauge.name}{_labels(labels)} {value}" for labels, value in gauge.values.items()
        ]
    return "\n".join((*lines, ""))


def _head(name: str, kind: str, help_: str) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]


def _counter(reading: Reading, family: Family) -> Iterator[str]:
    for labels, amount in series_of(reading.counts.get(family.name, {}), family):
        yield f"{family.name}{_labels(labels.items())} {amount / family.scale}"


def _all(reading: Reading, family: Family) -> Iterator[str]:
    for labels, spread in series_of(reading.spreads.get(family.name, {}), family):
        yield from _histogram(family.name, tuple(labels.items()), spread)


def _histogram(name: str, labels: tuple[tuple[str, str], ...], spread: Spread) -> Iterator[str]:
    for bound in _BOUNDS:
        below = sum(count for bucket, count in spread.buckets.items() if bucket <= bound)
        le = f"{upper_bound(bound):.6g}"
        yield f"{name}_bucket{_labels((*labels, ('le', le)))} {below}"
    yield f"{name}_bucket{_labels((*labels, ('le', '+Inf')))} {spread.count}"
    yield f"{name}_sum{_labels(labels)} {spread.sum}"
    yield f"{name}_count{_labels(labels)} {spread.count}"


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{text}}}" if text else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
