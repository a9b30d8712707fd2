"""What is plainly wrong with a quick answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.answer_checks import fault_of


@pytest.mark.parametrize(
    ("question", "text", "finish_reason", "fault"),
    [
        ("Hi", "Hello!", "stop", None),
        ("Hi", "Hello! I", "length", "cut short"),
        ("Hi", " \n", "stop", "empty"),
        ("Hi", "I\u2019m sorry, but I can't help with that.", "stop", "refused"),
        ("Return valid JSON", "Sure: a=1", "stop", "not the JSON"),
        ("Return valid JSON", "1", "stop", "not the JSON"),
        ("Return valid JSON", '{"a": 1}', "stop", None),
        ("Return valid JSON", 'Here:\n```json\n[{"a": 1}]\n```', "stop", None),
    ],
)
def test_what_is_plainly_wrong_is_named(question, text, finish_reason, fault):
    found = fault_of(question, text, finish_reason)

    assert (found is None) if fault is None else (fault in found)


@given(st.text())
def test_text_that_begins_with_an_apology_is_refused_whatever_follows(text):
    assert fault_of("Return valid JSON", f"Sorry, {text}", "stop") == "the quick model refused"
