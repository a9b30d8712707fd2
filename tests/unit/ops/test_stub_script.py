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
HISTORY = [Message("user", "[[stub:404]] before"), Message("assistant", "yes")]


def first_round(name, question):
    return build_messages(PERSONAS[name], HISTORY, question, **BUDGET)


def revision(name, question):
    return build_revision(PERSONAS[name], question, "mine", REPLIES, HISTORY, **BUDGET)


def synthesis(question):
    return build_synthesis(load_synthesis(), question, REPLIES, HISTORY, **BUDGET)


def prompt_of(messages):
    return read_prompt({"messages": msgspec.to_builtins(messages)})


def options_of(messages, *, is_repeat=False):
    return script_of(messages, is_repeat=is_repeat).options


def script_of(messages, *, is_repeat=False):
    return script_answer(
        prompt_of(messages), is_repeat=is_repeat, tokens=2, first_ms=1, gap_ms=0, max_tokens=4
    )


@pytest.mark.parametrize(
    "messages",
    [
        first_round("dev", "Why? [[stub:500]]"),
        revision("dev", "Why? [[stub:500]]"),
        synthesis("Why? [[stub:500]]"),
    ],
)
def test_directive_is_found_wherever_the_question_stands_and_nowhere_else(messages):
    assert prompt_of(messages).question == "Why? [[stub:500]]"
    assert options_of(messages) == {"500": ""}


def test_directive_for_one_agent_is_not_for_another():
    question = "[[stub@dev:500]] [[stub@synthesis:cut_after=3]]"

    assert options_of(first_round("dev", question)) == {"500": ""}
    assert options_of(revision("dev", question)) == {"500": ""}
    assert options_of(first_round("luna", question)) == {}
    assert options_of(synthesis(question)) == {"cut_after": "3"}


def test_directive_for_one_round_is_not_for_another():
    question = "[[stub@dev/1:tokens=1]] [[stub@dev/2:500]]"

    assert options_of(first_round("dev", question)) == {"tokens": "1"}
    assert options_of(revision("dev", question)) == {"500": ""}
    assert options_of(revision("luna", question)) == {}


def test_later_directives_win():
    question = "[[stub:tokens=3]] [[stub@dev:tokens=1 no_usage]]"

    assert options_of(first_round("dev", question)) == {"tokens": "1", "no_usage": ""}


def test_directive_for_once_is_void_when_the_question_is_seen_again():
    question = "[[stub:once:500]] [[stub:tokens=1]]"

    assert "500" in options_of(first_round("dev", question))
    assert options_of(first_round("dev", question), is_repeat=True) == {"tokens": "1"}


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Why?", "token-1 token-2 "),
        ("[[stub:tokens=1]]", "token-1 "),
        ("[[stub:tokens=9]]", "token-1 token-2 token-3 token-4 "),
        ("[[stub:say=hello_world]]", "hello world "),
    ],
)
def test_answer_is_what_the_directive_gives_within_the_limit(question, text):
    assert "".join(script_of(first_round("dev", question)).tokens) == text


def test_request_without_a_system_prompt_has_no_persona():
    request = {"messages": [{"role": "user", "content": "[[stub@dev:500]]"}]}

    found = read_prompt(request)

    assert found.persona == ""
    assert has_directive(found)
