"""Who answers, and why."""

from __future__ import annotations

import pytest

from agents.relevance import rate
from agents.selection import select_agent, select_team
from core.errors import UnknownAgent
from core.personas import agent_names, load_personas
from core.team import MOST_CHOSEN

PERSONAS = load_personas()
SPLITS = "Build a secure REST API in Flask with a usable UI and deploy it"


def names_of(team):
    return [member.persona.name for member in team.members]


def test_every_agent_that_a_job_may_ask_for_has_a_persona_and_a_prompt():
    assert tuple(PERSONAS) == agent_names()
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
        ("用Python写一个脚本", "dev"),
        ("Wie skaliere ich meine Datenbank mit DOCKER?!", "atlas"),
        ("(wireframes)", "luna"),
        ("Is this c++ or c#?", "dev"),
    ],
)
def test_agent_whose_skills_are_named_answers_when_nobody_is_asked_for(message, name):
    assert select_agent(message, None, PERSONAS).persona.name == name


def test_reason_names_the_words_that_decided():
    assert select_agent("a python script", None, PERSONAS).reason == (
        "the message names: python, script"
    )


def test_sage_answers_when_two_are_equally_near():
    selection = select_agent("debug the kubernetes", None, PERSONAS)

    assert (selection.persona.name, selection.reason) == (
        "sage",
        "the message matches dev and atlas equally",
    )


def test_unknown_agent_is_refused_by_the_name_of_its_field():
    with pytest.raises(UnknownAgent) as failure:
        select_agent("Hello!", "bob", PERSONAS)

    assert failure.value.field == "agent"


def test_parts_of_words_decide_nothing():
    assert select_agent("capital happiness", None, PERSONAS).persona.name == "sage"


@pytest.mark.parametrize(
    ("message", "term"),
    [
        ("scaling", "scale"),
        ("replicas", "replica"),
        ("debugging", "debug"),
        ("encrypted", "encrypt"),
        ("refactored classes", "class"),
        ("vulnerabilities", "vulnerability"),
        ("CI/CD", "ci cd"),
        ("the pros, and cons", "pros and cons"),
        ("le códe", "code"),
    ],
)
def test_term_is_found_in_another_form(message, term):
    found = {found for relevance in rate(message, PERSONAS).values() for found in relevance.terms}

    assert term in found


def test_words_of_a_phrase_do_not_count_again():
    relevance = rate("Which system design?", PERSONAS)

    assert relevance["atlas"].terms == ("system design",)
    assert relevance["luna"].score == 0


def test_repeating_a_word_changes_nothing():
    assert rate("Docker! " * 50, PERSONAS) == rate("docker", PERSONAS)


@pytest.mark.parametrize("name", agent_names())
def test_every_term_of_a_persona_is_found_in_itself(name):
    lost = {term for term in PERSONAS[name].skills if rate(term, PERSONAS)[name].terms != (term,)}

    assert lost == set()


def test_term_that_names_a_speciality_weighs_more_than_one_that_leans_to_it():
    assert select_agent("the website of my kubernetes", None, PERSONAS).persona.name == "atlas"


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (SPLITS, ["dev", "luna", "atlas", "quinn"]),
        ("Help me build a scalable web app", ["dev", "atlas"]),
        ("CI/CD is red: flaky tests, and one fails", ["quinn", "atlas"]),
        ("Write a study plan for Kubernetes", ["sage", "atlas"]),
    ],
)
def test_agents_with_a_part_of_their_own_answer_together(message, names):
    assert names_of(select_team(message, None, PERSONAS, most=5)) == names


def test_every_member_and_the_team_have_a_reason():
    team = select_team("Help me build a scalable web app", None, PERSONAS, most=5)

    assert [member.reason for member in team.members] == [
        "the message names: web app, build",
        "the message names: scalable",
    ]
    assert team.reason == "the question has parts for dev and atlas"


@pytest.mark.parametrize(
    ("message", "name", "reason"),
    [
        ("Python?", "dev", "one agent is enough; the message names: python"),
        ("你好", "sage", "one agent is enough; nothing in the message names a skill"),
        ("Explain lists in Python", "dev", "one agent is enough; the message names: python"),
        ("page, load", "sage", "one agent is enough; the message matches luna and atlas equally"),
    ],
)
def test_one_agent_answers_and_the_team_says_why_when_the_question_does_not_split(
    message, name, reason
):
    team = select_team(message, None, PERSONAS, most=5)

    assert (names_of(team), team.reason) == ([name], reason)


def test_no_more_agents_than_allowed_are_chosen():
    team = select_team(f"{SPLITS}, with a roadmap", None, PERSONAS, most=MOST_CHOSEN)

    assert len(team.members) == MOST_CHOSEN


def test_most_relevant_ones_answer_when_fewer_are_allowed():
    assert names_of(select_team(SPLITS, None, PERSONAS, most=2)) == ["dev", "luna"]


def test_team_says_so_when_only_one_may_answer():
    team = select_team(SPLITS, None, PERSONAS, most=1)

    assert (names_of(team), team.reason) == (["dev"], "no more than one agent may answer")


def test_agent_far_behind_the_most_relevant_one_stays_out():
    about_atlas = "docker kubernetes terraform cloud shard failover deploy"

    team = select_team(f"{about_atlas}, and pytest", None, PERSONAS, most=5)

    assert names_of(team) == ["atlas"]


def test_all_agents_asked_for_answer_once_and_the_most_relevant_is_first():
    team = select_team(
        "A Python script", ("luna", "quinn", "dev", "luna", "sage", "atlas"), PERSONAS, most=2
    )

    assert names_of(team) == ["dev", "luna", "quinn", "sage", "atlas"]
    assert {team.reason, *(member.reason for member in team.members)} == {"asked for by name"}


def test_team_with_an_unknown_agent_is_refused_by_the_name_of_its_field():
    with pytest.raises(UnknownAgent) as failure:
        select_team("Hello!", ("dev", "bob"), PERSONAS, most=5)

    assert failure.value.field == "agents"
