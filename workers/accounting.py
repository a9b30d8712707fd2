"""What an ended job would have cost otherwise, from what its agents report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from core.chat import Usage
from core.jobs import AgentReport, Outcome
from core.money import Call, saved_by_calls

if TYPE_CHECKING:
    from core.models import Catalogue


def with_savings(outcome: Outcome, catalogue: Catalogue) -> Outcome:
    """Return the outcome with its baseline and savings; an answer from the cache has its own."""
    if outcome.cache.status in ("hit", "coalesced"):
        return outcome
    reports = [*outcome.agents, *([outcome.synthesis] if outcome.synthesis else [])]
    calls = [call for report in reports for call in _calls_of(report, catalogue)]
    baseline_micros, savings = saved_by_calls(catalogue, calls)
    return msgspec.structs.replace(outcome, baseline_micros=baseline_micros, savings=savings)


def _calls_of(report: AgentReport, catalogue: Catalogue) -> Iterator[Call]:
    """Yield a cascade's drafts, then what the model that answered used."""
    rest, cost_micros = report.usage, report.cost_micros
    for draft in report.drafts:
        rest = _less(rest, draft.usage)
        cost_micros -= draft.cost_micros
        yield Call(
            model=catalogue.get(draft.model) or catalogue.for_tier("quick"),
            usage=draft.usage,
            cost_micros=draft.cost_micros,
            is_served=False,
        )
    yield Call(
        model=catalogue.get(report.model) or catalogue.for_tier("deep"),
        usage=rest,
        cost_micros=cost_micros,
    )


def _less(whole: Usage, part: Usage) -> Usage:
    return Usage(
        input_tokens=whole.input_tokens - part.input_tokens,
        cached_input_tokens=whole.cached_input_tokens - part.cached_input_tokens,
        output_tokens=whole.output_tokens - part.output_tokens,
    )
