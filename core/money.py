"""What routing and caches saved: the difference between what was paid and what would have been.

A job's baseline is what it would have cost at the strongest tier without any cache: its cost and
its three savings together, job by job, so the same holds for sums over jobs. Routing can cost more
than it saves: then its part is negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from core.chat import Usage
from core.models import Catalogue, Model
from core.outcome import AgentReport, Outcome, Savings


class Call(Struct, frozen=True, kw_only=True):
    """One model's part in an answer; `is_served` unless the reader never saw what it said."""

    model: Model
    usage: Usage
    cost_micros: int
    is_served: bool = True


def to_usd(micros: int) -> float:
    return micros / 1_000_000


def with_savings(outcome: Outcome, catalogue: Catalogue) -> Outcome:
    """Return the outcome with what routing and the prompt cache saved, by its agents' reports.

    An answer from the cache comes with its own savings, which stay.
    """
    if outcome.cache.status in ("hit", "coalesced"):
        return outcome
    reports = [*outcome.agents, *([outcome.synthesis] if outcome.synthesis else [])]
    calls = [call for report in reports for call in _calls_of(report, catalogue)]
    return msgspec.structs.replace(outcome, savings=saved_by_calls(catalogue, calls))


def saved_by_calls(catalogue: Catalogue, calls: Iterable[Call]) -> Savings:
    """Return what was saved on an answer that models made.

    A call whose text no reader saw saves nothing: the strongest tier would not have made it.
    """
    strongest = catalogue.for_tier("deep")
    routing = prompt_cache = 0
    for call in calls:
        discount = _discount_micros(catalogue, call)
        full = catalogue.cost_micros(strongest, _uncached(call.usage)) if call.is_served else 0
        routing += full - call.cost_micros - discount
        prompt_cache += discount
    return Savings(routing_micros=routing, prompt_cache_micros=prompt_cache)


def saved_by_cache(cost_micros: int) -> Savings:
    """Return what a kept answer saved: all that it cost when it was made."""
    return Savings(cache_micros=cost_micros)


def _discount_micros(catalogue: Catalogue, call: Call) -> int:
    full = catalogue.cost_micros(call.model, _uncached(call.usage))
    return full - catalogue.cost_micros(call.model, call.usage)


def _uncached(usage: Usage) -> Usage:
    return Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)


def _calls_of(report: AgentReport, catalogue: Catalogue) -> Iterator[Call]:
    """Yield the calls whose answers were not served, then what the model that answered used."""
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
