"""Figures, goals and the report that is written to a file."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from bench.figures import Figure, Report, show


@pytest.mark.parametrize(
    ("goal", "met"),
    [({"at_most": 45}, True), ({"at_most": 39}, False), ({"at_least": 40}, True), ({}, None)],
)
def test_a_goal_is_judged_by_the_median_of_the_runs(goal, met):
    figure = Figure("latency", "ms", [90.0, 40.0, 30.0], **goal)

    assert figure.median == 40
    assert figure.is_met is met


def test_a_report_keeps_every_run_when_it_is_written():
    report = Report(figures=[Figure("rate", "jobs/s", [1.0, 3.0, 2.0], at_least=1)])
    report.add_cpu("Aether", {"api": 3.0})
    report.add_cpu("Aether", {"api": 4.0})

    document = json.loads(json.dumps(report.to_json()))

    assert document["figures"][0]["runs"] == [1, 3, 2]
    assert document["figures"][0]["median"] == 2
    assert document["cpu_ms_per_job"] == {"Aether": {"api": [3, 4]}}


def test_a_missed_goal_is_shown_as_missed():
    console = Console(record=True, width=120)
    report = Report(figures=[Figure("rate", "jobs/s", [1.0], at_least=2)], notes=["[a] note"])

    show(report, console)

    text = console.export_text()
    assert "NO" in text
    assert "[a] note" in text


def test_nothing_is_shown_when_nothing_was_measured():
    console = Console(record=True)

    show(Report(), console)

    assert console.export_text() == ""
