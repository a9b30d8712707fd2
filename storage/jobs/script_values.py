"""Values as the job scripts take them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from core.budgets import Budget, Window
from core.chat import Usage
from core.events import NewEvent
from core.jobs import GREATEST_PRIORITY, JobSpec
from core.plans import PLANS
from core.timing import iso_time, now_ms
from storage import keys
from storage.jobs.bounds import MOST_MICROS, bounded_usage, within, without_surrogates

_encode = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """Return the value as JSON; lone surrogates become U+FFFD."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(without_surrogates(msgspec.to_builtins(value)))


def to_line(spec: JobSpec) -> str:
    """Return where a job is to stand, as the scripts of the lines read it."""
    plan = PLANS[spec.plan]
    key, limit = _line_key(spec)
    return " ".join(
        (
            spec.user_id,
            str(plan.weight),
            str(plan.running),
            "b" if spec.is_batch else "i",
            "quick" if spec.mode == "quick" else "run",
            # Below these rank the ends of teams' rounds and what was begun.
            str(2 + GREATEST_PRIORITY - spec.priority),
            str(limit),
            key,
        )
    )


def _line_key(spec: JobSpec) -> tuple[str, int]:
    """Return the job's concurrency key and how many run with it; messages have one at a time."""
    if spec.turn:
        return f"conversation:{spec.conversation_id}", 1
    return (spec.concurrency_key, spec.concurrency_limit) if spec.concurrency_key else ("", 0)


def to_wait(spec: JobSpec) -> list[Any]:
    """Return what the scripts keep of how the job waits: its line, its time, its expiry."""
    expires_at_ms = "" if spec.expires_at_ms is None else spec.expires_at_ms
    return [to_line(spec), spec.allowed_ms, expires_at_ms]


def to_budgets(budgets: Iterable[Budget], user_id: str, key_id: str | None, at_ms: int) -> str:
    """Return the budgets as `storage/lua/money.lua` reads them."""
    return "\n".join(
        f"{budget.limit_micros} {keys.budget_of(budget.scope, user_id, key_id, at_ms)}"
        for budget in budgets
    )


def to_windows(user_id: str, windows: Iterable[Window]) -> str:
    """Return the windows as `storage/lua/limits.lua` reads them."""
    return "\n".join(
        f"{keys.rates(user_id, window.key_id)} {window.name} {window.limit} {window.amount}"
        for window in windows
    )


def now_iso() -> str | None:
    """Return the time as events carry it."""
    return iso_time(now_ms())


def to_data(event: NewEvent) -> bytes:
    """Return an event's data as JSON."""
    return encode(event.data)


def to_open_data(event: NewEvent) -> bytes:
    """Return an event's data as JSON without its closing brace, for a script that adds to it."""
    return encode(event.data)[:-1]


def to_pairs(new_events: Iterable[NewEvent]) -> list[str | bytes]:
    """Return type and data of each event, one after the other."""
    return [part for event in new_events for part in (event.type, to_data(event))]


def to_used(usage: Usage, cost_micros: int) -> list[Any]:
    """Return input, cached input and output tokens, and the cost, each within its bounds."""
    usage = bounded_usage(usage)
    return [
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        within(cost_micros, MOST_MICROS),
    ]
