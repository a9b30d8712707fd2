"""Comparisons on real servers: what they may cost, and what came of them."""

from __future__ import annotations

import msgspec
import pytest
from pymongo.errors import WriteError

from core.errors import StoreUnavailable
from core.ids import new_job_id, new_user_id
from core.shadow import Comparison, RouteWorth
from storage.records.indexes import ensure_indexes
from storage.shadow import Comparisons, ShadowBudget

NOW_MS = 1_795_413_600_000


@pytest.fixture
def comparisons(mongo_database):
    ensure_indexes(mongo_database)
    return Comparisons(mongo_database)


def comparison(verdict, **changed):
    user_id = new_user_id()
    fields = {
        "job_id": new_job_id(user_id),
        "user_id": user_id,
        "at_ms": NOW_MS,
        "tier": "quick",
        "model": "small",
        "reason": "quick mode",
        "deep_model": "large",
        "verdict": verdict,
        "cost_micros": 10,
        "deep_cost_micros": 50,
        "judging_cost_micros": 70,
    }
    return Comparison(**fields | changed)


def test_report_adds_up_what_was_compared_on_each_route(comparisons):
    for verdict in ("worse", "tie", "tie", "better"):
        comparisons.add(comparison(verdict))
    comparisons.add(comparison("worse", tier="standard", deep_cost_micros=8))

    quick, standard = comparisons.worth_by_route(since_ms=0)

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


def test_report_leaves_out_what_is_older_than_asked_for(comparisons):
    comparisons.add(comparison("tie"))

    assert comparisons.worth_by_route(since_ms=NOW_MS)[0].compared == 1
    assert comparisons.worth_by_route(since_ms=NOW_MS + 1) == []


def test_first_comparison_stays_when_a_job_is_compared_twice(comparisons):
    first = comparison("tie")

    comparisons.add(first)
    comparisons.add(msgspec.structs.replace(first, verdict="worse"))

    (quick,) = comparisons.worth_by_route(since_ms=0)
    assert (quick.compared, quick.ties) == (1, 1)


def test_write_is_refused_when_a_comparison_would_not_fit_the_schema(comparisons, mongo_database):
    kept = comparison("tie")
    comparisons.add(kept)

    with pytest.raises(StoreUnavailable):
        comparisons.add(comparison("excellent"))
    with pytest.raises(WriteError):
        mongo_database["shadow"].update_one({"_id": kept.job_id}, {"$set": {"question": "Why?"}})


def test_nothing_is_granted_beyond_the_daily_budget(redis_client):
    one, other = (ShadowBudget(redis_client, daily_micros=100) for _ in range(2))

    assert one.reserve(60) is not None
    assert other.reserve(60) is None
    assert other.reserve(40) is not None
    assert one.reserve(1) is None


def test_budget_is_there_again_when_less_was_spent(redis_client):
    budget = ShadowBudget(redis_client, daily_micros=100)
    day = budget.reserve(100)

    budget.give_back(day, 70)

    assert budget.reserve(71) is None
    assert budget.reserve(70) == day


def test_budget_is_the_smaller_when_more_was_spent_than_reserved(redis_client):
    budget = ShadowBudget(redis_client, daily_micros=100)

    budget.give_back(budget.reserve(10), -85)

    assert budget.reserve(6) is None


def test_nothing_is_granted_when_there_is_no_budget(redis_client):
    assert ShadowBudget(redis_client, daily_micros=0).reserve(1) is None
