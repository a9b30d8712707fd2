"""Weights for one deployment."""

from __future__ import annotations

import pytest

from core.comparisons import Comparison
from core.models import read_catalogue
from core.routing_rules import read_rules
from ops.routing.deployment import TooFewLabels, labels_of, refit
from ops.routing.labels import Labelled, label_of

CATALOGUE = read_catalogue("groq")
RULES = read_rules()
DEEP, QUICK = CATALOGUE.for_tier("deep").id, CATALOGUE.for_tier("quick").id
ATOMS = [label_of(f"Which acid has {n} atoms in a molecule?", "worse") for n in range(60)]
LEMMAS = [label_of(f"Which lemma has {n} a corollary?", "tie") for n in range(60)]


def comparison(job_id, verdict, **changes):
    fields = {
        "job_id": job_id,
        "user_id": "usr",
        "at_ms": 0,
        "tier": "quick",
        "model": QUICK,
        "reason": "",
        "deep_model": DEEP,
        "verdict": verdict,
        "cost_micros": 1,
        "deep_cost_micros": 2,
        "judging_cost_micros": 3,
    }
    return Comparison(**fields | changes)


def test_labels_are_the_verdicts_on_questions_that_todays_models_answered():
    made = [
        comparison("a", "worse"),
        comparison("b", "tie"),
        comparison("gone", "worse"),
        comparison("old", "worse", deep_model="llama-2"),
        comparison("older", "worse", model="llama-1"),
        comparison("repeated", "tie"),
    ]
    questions = {"a": "A?", "b": "B?", "old": "C?", "older": "D?", "repeated": "A?"}

    assert labels_of(made, questions, CATALOGUE) == [label_of("A?", "worse"), label_of("B?", "tie")]


def test_fit_is_better_than_the_shipped_weights_when_the_labels_say_otherwise():
    fitted = refit(ATOMS + LEMMAS, [], RULES)

    assert fitted.apgr == pytest.approx(0.75, abs=0.01)
    assert fitted.shipped_apgr == pytest.approx(0.25, abs=0.01)
    assert fitted.random_range[0] < 0.5 < fitted.random_range[1] < fitted.apgr
    assert sum(fitted.tiers.values()) == pytest.approx(1)
    assert sum(fitted.shipped_tiers.values()) == pytest.approx(1)


def test_ratings_of_users_move_the_weights():
    rated = [Labelled(f"Tell me {n} jokes", weak=0.0, strong=1.0) for n in range(60)]

    without, with_them = (refit(ATOMS + LEMMAS, more, RULES) for more in ([], rated))

    weights = [fit.rules.features["transforming"].weight for fit in (without, with_them)]
    assert weights[0] < weights[1]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "there are 0 and 0"),
        (ATOMS, "there are 60 and 60"),
        (LEMMAS * 3, "there are 180 and 0"),
        ([*ATOMS, *(label_of(f"{n}?", "better") for n in range(60))], "not better on the whole"),
    ],
)
def test_nothing_is_fitted_when_the_labels_do_not_carry_it(rows, why):
    with pytest.raises(TooFewLabels, match=why):
        refit(rows, [], RULES)
