"""The plans: how much a user may run and spend."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from core.models import Tier

PlanName = Literal["trial", "basic", "pro", "enterprise"]
Role = Literal["user", "admin"]
ROLES: Final[tuple[Role, ...]] = ("user", "admin")


_MB: Final = 1_000_000
_GB: Final = 1_000 * _MB


class Plan(Struct, frozen=True, kw_only=True):
    """The limits of one plan.

    Attributes:
        running: model calls at a time; of a team each agent counts.
        unfinished: accepted jobs that have not ended, at a time; a team counts once per agent.
        weight: the user's share where several wait, beside others' weights.
        monthly_budget_micros: per calendar month (UTC), in micro-dollars.
        requests_per_minute, requests_per_day: jobs taken in, answered from the cache or not.
        tokens_per_day: input and output of jobs that have ended.
        bytes_per_hour: of questions and kept answers, as long as Redis holds them at least.
        agents: of one job.
        batch_lines: unanswered lines of batches.
        max_tier: the strongest tier that may answer.
    """

    name: PlanName
    running: int
    unfinished: int
    weight: int = 1
    monthly_budget_micros: int
    requests_per_minute: int = 60_000
    requests_per_day: int = 20_000_000
    tokens_per_day: int = 10_000_000_000
    bytes_per_hour: int = 20 * _GB
    agents: int = 16
    batch_lines: int = 1_000_000
    max_tier: Tier = "deep"


PLANS: Final[dict[PlanName, Plan]] = {
    plan.name: plan
    for plan in (
        Plan(
            name="trial",
            running=10,
            unfinished=10,
            monthly_budget_micros=1_000_000,
            requests_per_minute=300,
            requests_per_day=10_000,
            tokens_per_day=1_000_000,
            bytes_per_hour=64 * _MB,
            agents=5,
            batch_lines=100,
            max_tier="standard",
        ),
        Plan(
            name="basic",
            running=20,
            unfinished=100,
            weight=2,
            monthly_budget_micros=20_000_000,
            requests_per_minute=1_000,
            requests_per_day=100_000,
            tokens_per_day=20_000_000,
            bytes_per_hour=500 * _MB,
            agents=5,
            batch_lines=10_000,
        ),
        Plan(
            name="pro",
            running=50,
            unfinished=1_000,
            weight=4,
            monthly_budget_micros=200_000_000,
            requests_per_minute=6_000,
            requests_per_day=1_000_000,
            tokens_per_day=200_000_000,
            bytes_per_hour=4 * _GB,
            agents=8,
            batch_lines=100_000,
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
