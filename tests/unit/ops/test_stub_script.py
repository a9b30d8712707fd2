"""The directives in a request to the stub upstream."""

from __future__ import annotations

import msgspec
import pytest

from agents.context import build_messages
from agents.team_prompts import Contribution, build_revision, build_synthesis
from core.chat import Message
from core.personas import load_personas, load_synthesis
from ops.stub.script import has_directive, read_prompt, script_answer

PERSONAS = load_personas()
BUDGET = {"budget_tokens": 100_000}
REPLIES = [
    Contribution(name="atlas", title="Atlas", text="[[stub:length]] === ab begin the question")
]
FAILS = {"500": ""}
HISTORY = [Message("user", "[[stub:404]] before"), Message("assistant", "yes")]


def first_round(name, question):
    return build_messages(PERSONAS[name], HISTORY, question, **BUDGET)


def revision(name, question):
    return build_revision(PERSONAS[name], question, "mine", REPLIES, HISTORY, **BUDGET)


def synthesis(question):
    return build_synthesis(load_synthesis(), question, REPLIES, HISTORY, **BUDGET)


def script_of(messages, *, is_repeat=False):
    prompt = read_prompt({"messages": msgspec.to_builtins(messages)})
    return script_answer(prompt, is_repeat=is_repeat, tokens=2, first_ms=1, gap_ms=0, max_tokens=4)


@pytest.mark.parametrize(
    ("question", "first", "revised", "synthesised"),
    [
        ("Why? [[stub:500]]", FAILS, FAILS, FAILS),
        ("[[stub@dev:500]] [[stub@synthesis:cut_after=3]]", FAILS, FAILS, {"cut_after": "3"}),
        ("[[stub@dev/1:tokens=1]] [[stub@dev/2:500]]", {"tokens": "1"}, FAILS, {}),
        ("[[stub@luna:500]]", {}, {}, {}),
        ("[[stub:tokens=3]] [[stub@dev:tokens=1]]", *[{"tokens": "1"}] * 2, {"tokens": "3"}),
    ],
    ids=["all", "agent", "round", "another", "later wins"],
)
def test_directives_of_the_question_alone_hold_for_whom_they_name(
    question, first, revised, synthesised
):
    assert script_of(first_round("dev", question)).options == first
    assert script_of(revision("dev", question)).options == revised
    assert script_of(synthesis(question)).options == synthesised


def test_once_is_void_when_the_question_is_seen_again():
    messages = first_round("dev", "[[stub:once:500]] [[stub:tokens=1]]")

    assert "500" in script_of(messages).options
    assert script_of(messages, is_repeat=True).options == {"tokens": "1"}


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Why?", "token-1 token-2 "),
        ("[[stub:tokens=9]]", "token-1 token-2 token-3 token-4 "),
        ("[[stub:say=hello_world]]", "hello world "),
    ],
)
def test_script_says_what_is_asked_for_within_the_limit(question, text):
    assert "".join(script_of(first_round("dev", question)).tokens) == text


def test_request_without_a_system_prompt_is_nobody_in_particular():
    found = read_prompt({"messages": [{"role": "user", "content": "[[stub@dev:500]]"}]})

    assert found.persona == ""
    assert has_directive(found)
