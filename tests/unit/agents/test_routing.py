"""How hard a question looks, and which tier answers it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.features import COUNTERS, measure
from agents.routing import choose, choose_tier, score
from core.jobs import Question, RouteRequest
from core.models import TIERS, read_catalogue
from core.routing_rules import read_rules
from tests.jobs import make_spec

RULES = read_rules()
CATALOGUE = read_catalogue("groq")
PROOF = "Prove that the square root of 2 is irrational."
PROGRAM = "```python\nxs = [3, 1]\nprint(sorted(xs)[0])\n```"


def value(message, depth=0):
    return score(message, depth, RULES).value


def tier(message):
    return choose_tier(value(message), RULES)


@pytest.mark.parametrize(
    "message",
    [
        "Hi",
        "Thanks!",
        "What is the capital of France?",
        "Write a haiku about autumn",
        "Translate 'good morning' to Spanish",
        "Write an email to my boss asking for a day off",
    ],
)
def test_the_quick_tier_answers_when_the_question_is_simple(message):
    assert tier(message) == "quick"


@pytest.mark.parametrize(
    "message",
    [
        PROOF,
        "Show that every bounded monotone sequence converges.",
        "Derive the gradient of the softmax cross-entropy loss.",
        "Design a rate limiter for 10 regions that must survive the loss of two, stay within 5 % "
        "of the limit and add at most 2 ms. Compare three approaches and justify your choice.",
    ],
)
def test_the_deep_tier_answers_when_the_question_is_hard_however_short(message):
    assert tier(message) == "deep"


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        (f"Translate the comments of this code:\n{PROGRAM}", f"What is the output?\n{PROGRAM}"),
        ("How are pencils made?", "How much do 12 pencils cost at 3 for 45 cents?"),
        ("Name a sorting algorithm.", "Implement quicksort, test it and explain its worst case."),
        ("What is a limit?", "Find all x with $x^2 - 7y^2 = 1$ and $0 < x < 500$."),
        ("Plan a party.", "Plan a party:\n- at most 20 guests\n- two days\n- without meat"),
    ],
)
def test_a_question_scores_higher_when_it_is_harder(easier, harder):
    assert value(easier) < value(harder)


@pytest.mark.parametrize(
    ("name", "little", "more"),
    [
        ("demands", "Compare both.", "Compare both, explain why, and write a test."),
        ("items", "- one", "- one\n- two\n- three"),
        ("numbers", "Take 3.", "Take 3 of 40 in 5 days."),
        ("formulas", "Let x^2 be 4.", "Let $x^2 = \\frac{1}{4}$."),
        ("code", "import os;", "import os;\nclass A:\n    def f(self): return 1"),
        ("conditions", "if it rains", "if it rains, unless it is given that it snows"),
    ],
)
def test_a_feature_grows_when_there_is_more_of_it(name, little, more):
    values = [measure(message, 0, RULES.features)[name] for message in (little, more)]

    assert values[0] < values[1] < 1


def test_code_counts_as_executed_only_when_its_result_is_asked_for():
    values = [
        measure(f"{question}\n{PROGRAM.replace('print', 'log')}", 0, RULES.features)["executed"]
        for question in ("Add comments.", "What is the result?")
    ]

    assert values[0] == 0 < values[1]


def test_a_question_scores_higher_when_the_conversation_is_long():
    assert value("And the next step?", depth=0) < value("And the next step?", depth=8)


def test_no_weight_contradicts_its_direction_and_no_counter_lacks_its_row():
    for feature in RULES.features.values():
        sign = 1 if feature.pulls == "harder" else -1
        assert feature.weight * sign >= 0
        assert feature.prior * sign >= 0
    assert COUNTERS.keys() <= RULES.features.keys()
    assert all(row.words for name, row in RULES.features.items() if name not in COUNTERS)


def chosen(message, **asked):
    mode = asked.pop("mode", "optimized")
    spec = make_spec(mode=mode, route=RouteRequest(**asked))
    return choose(spec, Question(message), 0, RULES, CATALOGUE)


def test_the_reason_names_what_made_the_difference():
    assert chosen(PROOF).reason.startswith("a proof or derivation (+")
    assert chosen("yes").reason == "nothing in the message looks hard"


@pytest.mark.parametrize(
    ("asked", "tier", "model"),
    [
        ({}, "deep", "openai/gpt-oss-120b"),
        ({"tier": "quick"}, "quick", "openai/gpt-oss-20b"),
        ({"model": "openai/gpt-oss-20b"}, "quick", "openai/gpt-oss-20b"),
        ({"model": "openai/gpt-oss-120b"}, "standard", "openai/gpt-oss-120b"),
        ({"mode": "quick"}, "quick", "openai/gpt-oss-20b"),
        ({"max_tier": "standard"}, "standard", "openai/gpt-oss-120b"),
    ],
)
def test_what_was_asked_for_comes_before_what_the_router_finds(asked, tier, model):
    choice = chosen(PROOF, **asked)

    assert (choice.tier, choice.model.id) == (tier, model)
    assert (choice.score is None) == bool(asked.keys() - {"max_tier"})


def test_the_reason_says_so_when_a_bound_decides():
    assert "bounded to standard" in chosen(PROOF, max_tier="standard").reason
    assert "bounded" not in chosen("Hi", max_tier="standard").reason


@pytest.mark.parametrize("at_most", TIERS)
def test_no_tier_above_the_bound_is_chosen(at_most):
    chosen = {choose_tier(n / 100, RULES, at_most=at_most) for n in range(101)}

    assert chosen == set(TIERS[: TIERS.index(at_most) + 1])


@given(st.text(max_size=3000), st.integers(0, 1000))
def test_any_message_has_a_score_between_0_and_1(message, depth):
    assert 0 <= value(message, depth) <= 1


@pytest.mark.parametrize(
    "piece", ["a", "(", "\n", "1,", "if ", "def ", "- ", " \t", "\\", "$", "中"]
)
def test_only_a_bounded_part_is_looked_at_when_a_message_is_long(piece):
    long = (piece * 20_000)[:20_000]

    values = [measure(text, 0, RULES.features) for text in (long, f"{long[:9000]}{PROOF}{long}")]

    assert values[0]["proof"] == values[1]["proof"] == 0
    assert values[0]["length"] < values[1]["length"]
