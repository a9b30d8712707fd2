"""What labels do to the router's weights."""

from __future__ import annotations

import statistics

import pytest

from agents.routing import score
from core.routing_rules import RULES_FILE, read_rules
from ops.routing.fit import difficulty, fit, fit_to_deployment, held_out_scores, write_weights
from ops.routing.labels import Labelled, label_of
from ops.routing.quality import apgr

RULES = read_rules()
HARD = [Labelled(f"Hello hello hey {n} haiku", weak=0.0, strong=1.0) for n in range(40)]
EASY = [Labelled(f"Prove 1 2 3 4 5 {n}", weak=1.0, strong=1.0) for n in range(40)]

ATOMS = [label_of(f"Which acid has {n} atoms in a molecule?", "worse") for n in range(40)]
LEMMAS = [label_of(f"Which lemma has {n} a corollary?", "tie") for n in range(40)]


def mean_score(rules, rows):
    return statistics.fmean(score(row.prompt, 0, rules).value for row in rows)


def test_difficulty_is_what_the_weak_answer_lacks_and_less_where_the_strong_one_fails_too():
    values = [difficulty(Labelled("x", weak=w, strong=s)) for w, s in ((1, 1), (0, 0), (0, 1))]

    assert values == [0, 0.5, 1]


@pytest.mark.parametrize(("verdict", "hard"), [("worse", 1), ("tie", 0), ("better", 0)])
def test_a_question_is_hard_when_the_cheaper_answer_was_worse(verdict, hard):
    label = label_of("Why?", verdict)

    assert (label.prompt, difficulty(label)) == ("Why?", hard)


def test_a_weight_follows_the_data_but_never_to_the_other_side():
    fitted = fit(HARD + EASY, RULES)

    assert fitted.features["greeting"].weight == 0
    assert fitted.features["numbers"].weight < RULES.features["numbers"].prior
    assert score("Hello hey", 0, fitted).value > score("Prove 1 2 3", 0, fitted).value


def test_fitted_weights_are_all_that_a_written_file_changes(tmp_path):
    fitted, target = fit(HARD + EASY, RULES), tmp_path / "own.toml"

    write_weights(RULES_FILE, target, fitted)

    written = read_rules(target)
    assert written.tiers == RULES.tiers
    for name, feature in written.features.items():
        assert feature.weight == pytest.approx(fitted.features[name].weight, abs=0.001)
        assert feature.words == RULES.features[name].words


def test_a_deployment_starts_from_the_shipped_weights_and_keeps_the_mean_score():
    fitted = fit_to_deployment(HARD + EASY, RULES)

    assert fitted.features["code"].weight == pytest.approx(RULES.features["code"].weight)
    assert fitted.features["greeting"].weight > RULES.features["greeting"].weight
    before, after = (mean_score(rules, HARD + EASY) for rules in (RULES, fitted))
    assert after == pytest.approx(before, abs=0.1)


def test_a_weight_moves_further_when_more_labels_say_so():
    few, many = (fit_to_deployment((ATOMS + LEMMAS) * times, RULES) for times in (1, 10))

    weights = [rules.features["natural_science"].weight for rules in (RULES, few, many)]
    assert weights[0] < weights[1] < weights[2]


def test_no_row_is_scored_by_weights_that_saw_its_label():
    chance = [label_of(f"Question {n} of {n * 7919 % 100}?", "tie") for n in range(99)]
    odd_one = label_of("haiku " * 40, "worse")

    held_out = held_out_scores([*chance, odd_one], RULES)[-1]

    seen = score(odd_one.prompt, 0, fit_to_deployment([*chance, odd_one], RULES)).value
    assert held_out < seen


def test_cross_validation_finds_what_the_labels_have_in_common():
    rows = ATOMS + LEMMAS

    shipped = [score(row.prompt, 0, RULES).value for row in rows]

    assert apgr(rows, held_out_scores(rows, RULES)) == pytest.approx(0.75)
    assert apgr(rows, shipped) == pytest.approx(0.25)


def test_rows_that_are_only_seen_get_no_score_and_move_the_weights():
    alone = held_out_scores(EASY, RULES)

    beside = held_out_scores(EASY, RULES, more=HARD)

    assert len(beside) == len(EASY)
    assert beside != alone
