"""The plans: how much a user may run and spend."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from core.models import Tier

PlanName = Literal["trial", "basic", "pro", "enterprise"]
Role = Literal["user", "admin"]
ROLES: Final[tuple[Role, ...]] = ("user", "admin")


class Plan(Struct, frozen=True, kw_only=True):
    """The limits of one plan.

    Attributes:
        running: model calls at a time; of a team each agent counts.
        unfinished: accepted jobs that have not ended, at a time.
        weight: the user's share where several wait, beside others' weights.
        monthly_budget_micros: per calendar month (UTC), in micro-dollars.
        max_tier: the strongest tier that may answer.
    """

    name: PlanName
    running: int
    unfinished: int
    weight: int = 1
    monthly_budget_micros: int
    max_tier: Tier = "deep"


PLANS: Final[dict[PlanName, Plan]] = {
    plan.name: plan
    for plan in (
        Plan(
            name="trial",
            running=10,
            unfinished=10,
            monthly_budget_micros=1_000_000,
            max_tier="standard",
        ),
        Plan(
            name="basic",
            running=20,
            unfinished=100,
            weight=2,
            monthly_budget_micros=20_000_000,
        ),
        Plan(
            name="pro",
            running=50,
            unfinished=1_000,
            weight=4,
            monthly_budget_micros=200_000_000,
        ),
        Plan(
            name="enterprise",
            running=200,
            unfinished=20_000,
            weight=8,
            monthly_budget_micros=10_000_000_000,
        ),
    )
}
