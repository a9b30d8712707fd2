"""The router on the sample of labelled prompts that ships."""

from __future__ import annotations

from bench.router import SAMPLE, measured_scores
from bench.routing_data import read_labelled
from core.routing_rules import read_rules
from ops.routing.quality import apgr, lengths


def test_the_router_beats_chance_and_length_on_the_sample():
    rows = read_labelled(SAMPLE)

    scores, _ = measured_scores(rows, read_rules())

    assert apgr(rows, scores) > max(0.65, apgr(rows, lengths(rows)))
