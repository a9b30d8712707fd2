"""Figures of analytics in their public form, as JSON and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from core.errors import InvalidRequest
from core.money import to_usd
from core.usage import PERCENTILES, Tally, Usage

_MOST_DAYS: Final = 366
_DEFAULT_DAYS: Final = 30
#: A spreadsheet takes a cell that begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def days_of(first: str | None, last: str | None) -> tuple[date, date]:
    """Return the first and the last day that a request asks for.

    Raises:
        InvalidRequest: there is no such day, they are in the wrong order, or too many.
    """
    until = _to_day(last, "to") or datetime.now(UTC).date()
    since = _to_day(first, "from") or until - timedelta(days=_DEFAULT_DAYS - 1)
    if since > until:
        raise InvalidRequest("`from` must not be later than `to`.", field="from")
    if (until - since).days >= _MOST_DAYS:
        raise InvalidRequest(f"`from` and `to` must be at most {_MOST_DAYS} days.", field="from")
    return since, until


def _to_day(text: str | None, field: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"`{field}` must be a day, as 2026-11-27.", field=field) from None


def analytics(days: Mapping[date, Usage], first: date, last: date, by: str) -> dict[str, Any]:
    """Return the figures of some days, in all and by group."""
    whole = Usage()
    for usage in days.values():
        whole.add(usage)
    if by == "day":
        groups = {day.isoformat(): usage.total for day, usage in sorted(days.items())}
    else:
        groups = dict(sorted(getattr(whole, by, {}).items()))
    return {
        "object": "analytics",
        "from": first.isoformat(),
        "to": last.isoformat(),
        "by": by,
        "total": figures(whole.total),
        "groups": [{"key": key} | figures(tally) for key, tally in groups.items()],
    }


def figures(tally: Tally) -> dict[str, Any]:
    """Return the public form of sums over jobs."""
    hits = tally.cache.get("hit", 0) + tally.cache.get("coalesced", 0)
    misses = tally.cache.get("miss", 0)
    return {
        "jobs": {"total": tally.jobs, "by_status": dict(sorted(tally.statuses.items()))},
        "tokens": {
            "input": tally.input_tokens,
            "cached_input": tally.cached_input_tokens,
            "output": tally.output_tokens,
            "total": tally.input_tokens + tally.output_tokens,
        },
        "cost_usd": to_usd(tally.cost_micros),
        "saved": {
            "cache_usd": to_usd(tally.saved_by_cache_micros),
            "routing_usd": to_usd(tally.saved_by_routing_micros),
            "prompt_cache_usd": to_usd(tally.saved_by_prompt_cache_micros),
        },
        "latency_ms": _percentiles(tally, "latency"),
        "first_token_ms": _percentiles(tally, "first_token"),
        "cache": {
            "hits": hits,
            "misses": misses,
            "hit_rate": hits / (hits + misses) if hits + misses else None,
        },
        "feedback": {"up": tally.feedback.get("up", 0), "down": tally.feedback.get("down", 0)},
    }


def _percentiles(tally: Tally, name: str) -> dict[str, float | None]:
    found = {f"p{round(part * 100)}": tally.percentile(name, part) for part in PERCENTILES}
    return {key: None if s is None else round(s * 1000, 1) for key, s in found.items()}


def to_csv(groups: Iterable[Mapping[str, Any]]) -> str:
    """Return groups as a table, a column for each figure; RFC 4180."""
    rows = [_flat(group) for group in groups]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _flat(group: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in group.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


def _cell(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_formula else value
