"""What a cheaper answer was worth beside the strongest tier's answer to the same question."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: Seen from the cheaper answer.
Verdict = Literal["better", "tie", "worse"]


class Comparison(Struct, frozen=True, kw_only=True):
    """One job that was answered a second time and judged; it holds nothing that anybody wrote.

    Attributes:
        tier: of the job's route, as are `model` and `reason`.
        deep_model: what the strongest tier was when it answered.
        cost_micros: of the job.
        deep_cost_micros: of the second answer.
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
    """What the comparisons of one route come to; costs are sums over its jobs."""

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
        """The share of jobs whose answer was worse than the strongest tier's."""
        return self.worse / self.compared

    @property
    def saved_micros(self) -> int:
        """What the strongest tier would have cost more; negative if it was the cheaper one."""
        return self.deep_cost_micros - self.cost_micros
