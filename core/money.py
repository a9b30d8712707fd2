"""What routing and caches saved: the difference between what was paid and what would have been.

The baseline is the price of the same usage at the strongest tier, without a discount for what the
provider had cached. The three savings add up to baseline minus cost, job by job, so their sums
over any jobs do, too. Routing can cost more than it saves: then its part is negative.
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
    """Return the outcome with its baseline and savings; an answer from the cache has its own."""
    if outcome.cache.status in ("hit", "coalesced"):
        return outcome
    reports = [*outcome.agents, *([outcome.synthesis] if outcome.synthesis else [])]
    calls = [call for report in reports for call in _calls_of(report, catalogue)]
    baseline_micros, savings = saved_by_calls(catalogue, calls)
    return msgspec.structs.replace(outcome, baseline_micros=baseline_micros, savings=savings)


def saved_by_calls(catalogue: Catalogue, calls: Iterable[Call]) -> tuple[int, Savings]:
    """Return the baseline of an answer that models made, and what was saved.

    What was not served is no part of the baseline: the strongest tier would not have been asked.
    """
    strongest = catalogue.for_tier("deep")
    baseline = cost = discount = 0
    for call in calls:
        cost += call.cost_micros
        discount += _discount_micros(catalogue, call)
        if call.is_served:
            baseline += catalogue.cost_micros(strongest, _uncached(call.usage))
    routing = baseline - cost - discount
    return baseline, Savings(routing_micros=routing, prompt_cache_micros=discount)


def saved_by_cache(cost_micros: int) -> tuple[int, Savings]:
    """Return the baseline of an answer that was given before, and what was saved: all it cost."""
    return cost_micros, Savings(cache_micros=cost_micros)


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
