"""How well an order of prompts tells hard ones from easy ones."""

from __future__ import annotations

import pytest

from ops.routing.labels import Labelled
from ops.routing.quality import apgr, lengths, quality_at, random_range

ROWS = [Labelled("x" * (20 - n), weak=float(n >= 5), strong=1.0) for n in range(10)]
PERFECT = [float(10 - n) for n in range(10)]


def test_apgr_is_best_when_the_prompts_that_gain_come_first():
    assert apgr(ROWS, PERFECT) == pytest.approx(0.75)
    assert apgr(ROWS, [-score for score in PERFECT]) == pytest.approx(0.25)
    assert apgr(ROWS, lengths(ROWS)) == pytest.approx(0.75)


def test_quality_runs_from_all_weak_to_all_strong():
    qualities = [quality_at(ROWS, PERFECT, share) for share in (0.0, 0.2, 0.5, 1.0)]

    assert qualities == pytest.approx([0.5, 0.7, 1.0, 1.0])


def test_random_orders_lie_around_one_half_and_closer_the_more_prompts_there_are():
    few, many = random_range(ROWS), random_range(ROWS * 20)

    assert few[0] < many[0] < 0.5 < many[1] < few[1]


def test_prompts_are_refused_when_the_strong_answers_are_not_better():
    with pytest.raises(ValueError, match="higher"):
        apgr([Labelled("x", weak=1.0, strong=0.0)], [0.5])
