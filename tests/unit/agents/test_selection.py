"""Who answers, and why."""

from __future__ import annotations

import pytest

from agents.personas import load_personas
from agents.selection import select_agent
from core.errors import UnknownAgent
from core.job import AGENT_NAMES

PERSONAS = load_personas()


def test_every_agent_that_a_job_may_ask_for_has_a_persona_and_a_prompt():
    assert tuple(PERSONAS) == AGENT_NAMES
    assert all(len(persona.prompt) > 500 for persona in PERSONAS.values())


def test_agent_asked_for_answers_when_the_message_names_another():
    selection = select_agent("Fix this Python bug", "luna", PERSONAS)

    assert (selection.persona.name, selection.reason) == ("luna", "asked for by name")


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Help me build a scalable web app", "dev"),
        ("Design an accessible onboarding screen", "luna"),
        ("How do I scale a database cluster on kubernetes?", "atlas"),
        ("Review my login for a CSRF vulnerability", "quinn"),
        ("Explain the difference between fear and anger", "sage"),
        ("Hello!", "sage"),
        ("你好", "sage"),
    ],
)
def test_agent_whose_skills_are_named_answers_when_nobody_is_asked_for(message, name):
    assert select_agent(message, None, PERSONAS).persona.name == name


def test_reason_names_the_words_that_decided():
    assert select_agent("a python script", None, PERSONAS).reason == (
        "the message names: python, script"
    )


def test_sage_answers_when_two_are_equally_near():
    selection = select_agent("debug the database", None, PERSONAS)

    assert (selection.persona.name, selection.reason) == (
        "sage",
        "the message is as near to dev as to atlas",
    )


def test_unknown_agent_is_refused_by_the_name_of_its_field():
    with pytest.raises(UnknownAgent) as failure:
        select_agent("Hello!", "bob", PERSONAS)

    assert failure.value.field == "agent"


def test_parts_of_words_decide_nothing():
    assert select_agent("capital happiness", None, PERSONAS).persona.name == "sage"
