"""Values as the job scripts take them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from core.events import NewEvent
from core.jobs import JobStatus
from core.money import to_usd
from core.outcome import Outcome, public_usage
from core.timing import iso_time

_encode = msgspec.json.Encoder().encode


def to_pairs(new_events: Iterable[NewEvent]) -> list[str | bytes]:
    """Return type and data of each event, as the scripts take them."""
    return [part for event in new_events for part in (event.type, _encode(event.data))]


def terminal_data(status: JobStatus, outcome: Outcome) -> dict[str, Any]:
    """Return what a job's last event says."""
    return {
        "status": status.value,
        "finish_reason": outcome.answer.finish_reason if outcome.answer else None,
        "usage": public_usage(outcome.usage),
        "cost_usd": to_usd(outcome.cost_micros),
        "degraded": outcome.degraded,
        "timing_ms": outcome.timing_ms,
        "error": outcome.error,
    }


def now_iso() -> str | None:
    """Return the time as events carry it."""
    return iso_time(int(time.time() * 1000))
