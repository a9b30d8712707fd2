"""What routing and caches saved: the difference between what was paid and what would have been.

The baseline is the price of the same usage at the strongest tier, without a discount for what the
provider had cached. The three savings add up to baseline minus cost, job by job, so their sums
over any jobs do, too. Routing can cost more than it saves: then its part is negative.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from core.chat import Usage

if TYPE_CHECKING:
    from core.models import Catalogue, Model


class Savings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one job saved, in micro-dollars, by where it comes from."""

    routing_micros: int = 0
    cache_micros: int = 0
    prompt_cache_micros: int = 0

    @property
    def total_micros(self) -> int:
        return self.routing_micros + self.cache_micros + self.prompt_cache_micros


class Call(Struct, frozen=True, kw_only=True):
    """One model's part in an answer; `is_served` unless the reader never saw what it said."""

    model: Model
    usage: Usage
    cost_micros: int
    is_served: bool = True


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
