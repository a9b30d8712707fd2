"""What the router's benchmark says of an order of prompts, and what it fits."""

from __future__ import annotations

import shutil

import pytest

from agents.routing import score
from bench.router import SAMPLE, Labelled, apgr, measured_scores, quality_at, read_labelled
from bench.router_fit import difficulty, fit, write_weights
from core.routing_rules import RULES_FILE, read_rules

ROWS = [Labelled(f"{n}", weak=float(n >= 5), strong=1.0) for n in range(10)]
PERFECT = [float(10 - n) for n in range(10)]


def test_apgr_is_best_when_the_prompts_that_gain_come_first():
    assert apgr(ROWS, PERFECT) == pytest.approx(0.75)
    assert apgr(ROWS, [-score for score in PERFECT]) == pytest.approx(0.25)


def test_quality_runs_from_all_weak_to_all_strong():
    qualities = [quality_at(ROWS, PERFECT, share) for share in (0.0, 0.2, 0.5, 1.0)]

    assert qualities == pytest.approx([0.5, 0.7, 1.0, 1.0])


def test_a_file_without_a_gap_is_refused():
    with pytest.raises(ValueError, match="higher"):
        apgr([Labelled("x", weak=1.0, strong=0.0)], [0.5])


def test_the_router_beats_chance_on_the_sample():
    rows = read_labelled(SAMPLE)

    scores, _ = measured_scores(rows, read_rules())

    assert apgr(rows, scores) > 0.65


def test_difficulty_is_what_the_weak_answer_lacks_and_less_where_the_strong_one_fails_too():
    values = [difficulty(Labelled("x", weak=w, strong=s)) for w, s in ((1, 1), (0, 0), (0, 1))]

    assert values == [0, 0.5, 1]


def test_a_weight_follows_the_data_but_never_to_the_other_side(tmp_path):
    path = tmp_path / "rules.toml"
    shutil.copy(RULES_FILE, path)
    rules = read_rules(path)
    hard = [Labelled("Hello hello hey " * 3, weak=0.0, strong=1.0)] * 40
    easy = [Labelled("Prove 1 2 3 4 5 6", weak=1.0, strong=1.0)] * 40

    write_weights(path, *fit(hard + easy, rules))

    fitted = read_rules(path)
    assert fitted.features["greeting"].weight == 0
    assert fitted.features["numbers"].weight < rules.features["numbers"].prior
    assert fitted.features["recall"].words == rules.features["recall"].words
    assert score("Hello hey", 0, fitted).value > score("Prove 1 2 3", 0, fitted).value
