"""The plans: how much a user may run and spend."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from core.models import Tier

PlanName = Literal["trial", "basic", "pro", "enterprise"]


class Plan(Struct, frozen=True, kw_only=True):
    """The limits of one plan.

    Attributes:
        concurrent_jobs: unfinished jobs at a time.
        monthly_budget_micros: per calendar month (UTC), in micro-dollars.
        max_tier: the strongest tier that may answer.
    """

    name: PlanName
    concurrent_jobs: int
    monthly_budget_micros: int
    max_tier: Tier = "deep"


PLANS: Final[dict[PlanName, Plan]] = {
    plan.name: plan
    for plan in (
        Plan(
            name="trial", concurrent_jobs=10, monthly_budget_micros=1_000_000, max_tier="standard"
        ),
        Plan(name="basic", concurrent_jobs=20, monthly_budget_micros=20_000_000),
        Plan(name="pro", concurrent_jobs=100, monthly_budget_micros=200_000_000),
        Plan(name="enterprise", concurrent_jobs=1_000, monthly_budget_micros=10_000_000_000),
    )
}
