"""What comparisons come to."""

from __future__ import annotations

from core.comparisons import RouteWorth, worth_by_route
from tests.jobs import make_comparison


def test_verdicts_and_costs_are_added_up_by_tier_and_model():
    made = [make_comparison(verdict) for verdict in ("worse", "tie", "tie", "better")]
    made.append(make_comparison("worse", tier="standard", deep_cost_micros=8))

    quick, standard = worth_by_route(made)

    assert quick == RouteWorth(
        tier="quick",
        model="small",
        compared=4,
        better=1,
        ties=2,
        worse=1,
        cost_micros=40,
        deep_cost_micros=200,
        judging_cost_micros=280,
    )
    assert (quick.regret, quick.saved_micros) == (0.25, 160)
    assert (standard.tier, standard.regret, standard.saved_micros) == ("standard", 1.0, -2)
