"""Which cheap answers hold, and when two of them say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.comparing import agree, comparable, fault_of, wants_short


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "The answer is 42."),
        ("She has 8 + 10 = 18 left.\n#### 18", "**18**"),
        ("$1,200.50", "The total is 1200.5 dollars"),
        ("Yes.", "yes, because it rains"),
        ("B", "(B) the second one"),
        ("Answer: C", "C."),
        ("Paris", "paris."),
        ('{"a": 1, "b": [2]}', '```json\n{ "b": [2],\n "a": 1 }\n```'),
    ],
)
def test_two_answers_agree_when_they_come_to_the_same(one, other):
    assert agree(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "-42"),
        ("42", "4.2"),
        ("yes", "no"),
        ("B", "C"),
        ("Paris", "Lyon"),
        ('{"a": 1}', '{"a": 2}'),
        ("", ""),
        ("It depends on what you want and on whom you ask.",) * 2,
    ],
)
def test_two_answers_do_not_agree_when_they_differ_or_cannot_be_told(one, other):
    assert not agree(one, other)


@pytest.mark.parametrize(
    "question",
    [
        "How many legs do 3 cats have?",
        "Is 7 prime? Answer yes or no.",
        "Which of the following is a fruit?\nA. stone\nB. plum",
        "Calculate 12 * 12",
        "Give name and age as JSON: Ann is 9.",
        "Reply with only the number.",
    ],
)
def test_an_answer_is_short_when_a_number_a_class_or_json_is_asked_for(question):
    assert wants_short(question)


@pytest.mark.parametrize("question", ["Write a poem", "Explain how TCP works", "Fix this bug"])
def test_an_answer_is_prose_otherwise(question):
    assert not wants_short(question)


@pytest.mark.parametrize(
    ("question", "text", "finish_reason", "fault"),
    [
        ("Hi", "Hello!", "stop", None),
        ("Hi", "Hello! I", "length", "cut short"),
        ("Hi", " \n", "stop", "empty"),
        ("Hi", "I\u2019m sorry, but I can't help with that.", "stop", "refused"),
        ("Return valid JSON", "Sure: a=1", "stop", "not the JSON"),
        ("Return valid JSON", '{"a": 1}', "stop", None),
    ],
)
def test_what_is_plainly_wrong_is_named(question, text, finish_reason, fault):
    found = fault_of(question, text, finish_reason)

    assert (found is None) if fault is None else (fault in (found or ""))


@given(st.text())
def test_any_answer_can_be_looked_at(text):
    core = comparable(text)

    assert core is None or agree(text, text)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_is_the_same_in_every_form(number):
    assert agree(f"{number:f}", f"The answer is {number:,f}.")
