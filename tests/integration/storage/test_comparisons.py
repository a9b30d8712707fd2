"""Comparisons on real servers: what came of them."""

from __future__ import annotations

import msgspec
import pytest
from pymongo.errors import WriteError

from core.comparisons import Comparison, RouteWorth
from core.errors import StoreUnavailable
from core.ids import new_job_id, new_user_id
from storage.records.comparisons import Comparisons
from storage.records.indexes import ensure_indexes

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
        mongo_database["comparisons"].update_one(
            {"_id": kept.job_id}, {"$set": {"question": "Why?"}}
        )
