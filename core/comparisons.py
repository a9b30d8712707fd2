"""What a cheaper tier's answer was worth beside the deep tier's answer to the same question."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from core.jobs import JobSpec, Question
from core.outcome import Route

#: Of the cheaper answer.
Verdict = Literal["better", "tie", "worse"]


class CheaperAnswer(Struct, frozen=True, kw_only=True):
    """A finished answer of a tier below deep, and the job that asked for it.

    Attributes:
        agent: the persona that answered.
        cost_micros: of the job.
    """

    spec: JobSpec
    question: Question
    agent: str
    text: str
    route: Route
    cost_micros: int


class Comparison(Struct, frozen=True, kw_only=True):
    """One cheaper answer and the verdict on it; it holds no text of a user or a model.

    Attributes:
        tier: of the job's route, as are `model` and `reason`.
        deep_model: the deep tier's model when it answered.
        cost_micros: of the job.
        deep_cost_micros: of the deep tier's answer.
        judging_cost_micros: of both judgements.
    """

    job_id: str
    user_id: str
    at_ms: int
    tier: str
    model: str
    reason: str
    deep_model: str
    verdict: Verdict
    cost_micros: int
    deep_cost_micros: int
    judging_cost_micros: int


class RouteWorth(Struct, frozen=True, kw_only=True):
    """The comparisons of one tier and model; costs are sums over its jobs."""

    tier: str
    model: str
    compared: int
    better: int
    ties: int
    worse: int
    cost_micros: int
    deep_cost_micros: int
    judging_cost_micros: int

    @property
    def regret(self) -> float:
        """The share of jobs whose answer was worse than the deep tier's."""
        return self.worse / self.compared

    @property
    def saved_micros(self) -> int:
        """How much more the deep tier cost; negative if it was the cheaper one."""
        return self.deep_cost_micros - self.cost_micros


def worth_by_route(comparisons: Iterable[Comparison]) -> list[RouteWorth]:
    """Return one row for each tier and model, the most compared first."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault((comparison.tier, comparison.model), []).append(comparison)
    rows = [_worth_of(tier, model, group) for (tier, model), group in groups.items()]
    return sorted(rows, key=lambda row: (-row.compared, row.tier, row.model))


def _worth_of(tier: str, model: str, group: list[Comparison]) -> RouteWorth:
    verdicts = [comparison.verdict for comparison in group]
    return RouteWorth(
        tier=tier,
        model=model,
        compared=len(group),
        better=verdicts.count("better"),
        ties=verdicts.count("tie"),
        worse=verdicts.count("worse"),
        cost_micros=sum(comparison.cost_micros for comparison in group),
        deep_cost_micros=sum(comparison.deep_cost_micros for comparison in group),
        judging_cost_micros=sum(comparison.judging_cost_micros for comparison in group),
    )
