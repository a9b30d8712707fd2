"""What is asked for a title, and what is taken of an answer for one."""

from __future__ import annotations

import pytest

from agents.titles import ask_for_title, read_title


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Red Foxes in Town", "Red Foxes in Town"),
        ('"Red Foxes in Town."', "Red Foxes in Town"),
        ("“Red Foxes in Town”\n\nI chose it because …", "Red Foxes in Town"),
        ("Title: **Red Foxes in Town**", "Red Foxes in Town"),
        ("**Title:** Red Foxes in Town", "Red Foxes in Town"),
        ("\n\n# Red   Foxes\tin Town\n", "Red Foxes in Town"),
        ("- Red Foxes", "Red Foxes"),
        ("「赤い狐」。", "赤い狐"),
        ("C++ or C#?", "C++ or C#?"),
        ("Titles: a short history", "Titles: a short history"),
        ("...", None),
        ("  \n", None),
        ("", None),
    ],
)
def test_the_title_is_taken_without_what_is_around_it(text, title):
    assert read_title(text) == title


def test_a_long_title_ends_at_a_word():
    assert read_title("four " * 30) == " ".join(["four"] * 15) + "…"
    assert read_title("x" * 100) == "x" * 79 + "…"


def test_question_and_answer_are_quoted_by_their_beginnings():
    asked = ask_for_title("q" * 5_000, "a" * 5_000)

    assert (asked.count("q"), asked.count("a")) == (2_000, 2_000)
