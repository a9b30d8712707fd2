"""Test questions are kept out of what is fitted."""

from __future__ import annotations

import sys

import pytest

from bench.routing_data import read_labelled
from bench.routing_leaks import main, without_leaks
from ops.routing.labels import Labelled

QUESTION = "A train leaves at noon and a second one an hour later; when do the two of them meet?"


def row(prompt):
    return Labelled(prompt, weak=0.0, strong=1.0, source="s")


@pytest.mark.parametrize(
    "prompt",
    [
        QUESTION,
        QUESTION.upper().replace(";", ""),
        f"Think step by step. {QUESTION} Answer with a number.",
    ],
)
def test_a_prompt_is_dropped_when_it_holds_a_question_of_a_test(prompt):
    assert without_leaks([row(prompt)], [row(QUESTION)]) == []


def test_a_short_prompt_is_dropped_when_it_is_one_of_a_test():
    rows = [row("Who painted the Mona Lisa?"), row("Who painted the ceiling?")]

    assert without_leaks(rows, [row("who painted the mona lisa")]) == rows[1:]


def test_an_instruction_that_many_test_prompts_begin_with_is_no_leak():
    instruction = (
        "Please solve the following problem step by step and give the letter of the answer:"
    )
    tests = [row(f"{instruction} {n} {n + 1} {n + 2}") for n in range(4)]
    rows = [row(f"{instruction} something else")]

    assert without_leaks(rows, tests) == rows


def test_the_script_writes_what_is_kept_and_counts_what_is_not(tmp_path, monkeypatch, capsys):
    fit, test, out = (tmp_path / name for name in ("fit", "test", "out"))
    line = '{{"prompt": "{}", "weak": 0, "strong": 1, "source": "s"}}\n'
    fit.write_text(line.format(QUESTION) + line.format("Why?"))
    test.write_text(line.format(QUESTION))
    monkeypatch.setattr(sys, "argv", ["x", str(fit), "--test", str(test), "--out", str(out)])

    assert main() == 0

    assert [kept.prompt for kept in read_labelled(out)] == ["Why?"]
    assert capsys.readouterr().out == "s: 1 of 2 dropped\n"
