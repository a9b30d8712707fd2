"""Which tiers may answer a request and what that costs at most, by plan, catalogue and price."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from msgspec import Struct

from core.errors import CostLimitTooLow, InvalidRequest, TierNotInPlan, UnknownModel
from core.jobs import Mode, RouteRequest
from core.models import TIERS, Catalogue, Model, Tier
from core.money import to_usd

if TYPE_CHECKING:
    from core.plans import Plan
    from web.jobs.schemas import ChatRequest


class Prices(Struct, frozen=True):
    """What a request can cost at most, by the model that answers it."""

    catalogue: Catalogue
    chars: int
    max_tokens: int
    is_cascade: bool = False

    def of(self, model: Model) -> int:
        """Return the price of an answer by this model; a cascade adds its draft."""
        last = self._of_call(model)
        if not self.is_cascade:
            return last
        return self._of_call(self.catalogue.for_tier(TIERS[0])) + last

    def up_to(self, tier: Tier) -> int:
        """Return the price when the router may choose any tier up to this one."""
        return max(self.of(self.catalogue.for_tier(each)) for each in tiers_up_to(tier))

    def _of_call(self, model: Model) -> int:
        return self.catalogue.estimate_micros(model, self.chars, self.max_tokens)


def tiers_up_to(tier: Tier) -> tuple[Tier, ...]:
    return TIERS[: TIERS.index(tier) + 1]


def settle_route(
    request: ChatRequest, mode: Mode, plan: Plan, catalogue: Catalogue, max_tokens: int
) -> RouteRequest:
    """Return the route that the request allows.

    Raises:
        InvalidRequest: the quick route was asked for another tier or model.
        UnknownModel, TierNotInPlan, CostLimitTooLow: no model may answer as the request asks.
    """
    is_cascade = request.routing == "cascade"
    prices = Prices(catalogue, len(request.message), max_tokens, is_cascade)
    limit = _limit_micros(request)
    pinned = pinned_tier(request, mode, catalogue)
    if pinned is None:
        max_tier = _strongest_within(limit, plan.max_tier, prices)
    else:
        if TIERS.index(pinned) > TIERS.index(plan.max_tier):
            raise TierNotInPlan(
                f"The plan `{plan.name}` includes tiers up to `{plan.max_tier}` only."
            )
        max_tier = pinned
        named = catalogue.get(request.model) if request.model else None
        _refuse_above(limit, prices.of(named or catalogue.for_tier(pinned)))
    return RouteRequest(
        tier=request.tier,
        model=request.model,
        max_tier=max_tier,
        max_cost_micros=limit,
        is_cascade=is_cascade,
    )


def _limit_micros(request: ChatRequest) -> int | None:
    if request.max_cost_usd is None:
        return None
    return int(request.max_cost_usd * 1_000_000)


def pinned_tier(request: ChatRequest, mode: Mode, catalogue: Catalogue) -> Tier | None:
    if mode == "quick":
        if request.model or request.routing == "cascade" or request.tier not in (None, TIERS[0]):
            field = "model" if request.model else "tier" if request.tier else "routing"
            raise InvalidRequest(
                f"`{field}` must be left out on the quick route: its tier is `quick`.", field=field
            )
        return TIERS[0]
    if request.model is None:
        return request.tier
    if catalogue.get(request.model) is None:
        known = ", ".join(catalogue.models)
        raise UnknownModel(f"`model` must be one of {known}.", field="model")
    return catalogue.tier_of(request.model)


def _strongest_within(limit: int | None, max_tier: Tier, prices: Prices) -> Tier:
    """Return the strongest tier up to which plan and cost limit allow every tier."""
    tiers = tiers_up_to(max_tier)
    if limit is None:
        return max_tier
    within = list(takewhile(lambda tier: prices.up_to(tier) <= limit, tiers))
    if not within:
        _refuse_above(limit, prices.up_to(tiers[0]))
    return within[-1]


def _refuse_above(limit: int | None, micros: int) -> None:
    if limit is not None and micros > limit:
        raise CostLimitTooLow(
            f"`max_cost_usd` must be at least {to_usd(micros):.6f}, what this request can cost.",
            field="max_cost_usd",
        )
