"""Bounds of what a script and a record are given, whatever an upstream has claimed."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from core.chat import Usage
from core.outcome import AgentReport, Outcome, Savings

#: Far more than a job can use, and sums of them fit a number of Redis, Lua and MongoDB.
MOST_TOKENS: Final = 10**9
MOST_MICROS: Final = 10**12


def within(number: int, most: int, least: int = 0) -> int:
    return max(least, min(number, most))


def bounded_usage(usage: Usage) -> Usage:
    """Return the usage with each count within 0 and `MOST_TOKENS`; cached within input."""
    tokens_in = within(usage.input_tokens, MOST_TOKENS)
    return Usage(
        tokens_in,
        within(usage.cached_input_tokens, tokens_in),
        within(usage.output_tokens, MOST_TOKENS),
    )


def bounded_report(report: AgentReport) -> AgentReport:
    """Return an agent's report with every number within its bounds."""
    drafts = tuple(
        replace(
            draft,
            usage=bounded_usage(draft.usage),
            cost_micros=within(draft.cost_micros, MOST_MICROS),
        )
        for draft in report.drafts
    )
    return replace(
        report,
        usage=bounded_usage(report.usage),
        cost_micros=within(report.cost_micros, MOST_MICROS),
        timing_ms=_bounded_times(report.timing_ms),
        rounds=within(report.rounds, MOST_TOKENS),
        drafts=drafts,
    )


def bounded(outcome: Outcome) -> Outcome:
    """Return the outcome with every number within its bounds; savings may be negative."""
    savings = (
        within(micros, MOST_MICROS, -MOST_MICROS)
        for micros in msgspec.structs.astuple(outcome.savings)
    )
    return replace(
        outcome,
        usage=bounded_usage(outcome.usage),
        cost_micros=within(outcome.cost_micros, MOST_MICROS),
        savings=Savings(**dict(zip(Savings.__struct_fields__, savings, strict=True))),
        agents=tuple(map(bounded_report, outcome.agents)),
        synthesis=outcome.synthesis and bounded_report(outcome.synthesis),
        timing_ms=_bounded_times(outcome.timing_ms),
    )


def _bounded_times(timing_ms: dict[str, int | None]) -> dict[str, int | None]:
    return {
        name: None if value is None else within(value, MOST_MICROS)
        for name, value in timing_ms.items()
    }


def without_surrogates(value: Any) -> Any:
    """Return a value of JSON's types with U+FFFD in place of lone surrogates, which UTF-8 lacks."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    return value
