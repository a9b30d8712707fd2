"""What the agents are told, and that a change of it cannot go unnoticed."""

from __future__ import annotations

import hashlib

import pytest

from core.models import PROMPT_TOKENS, estimate_tokens
from core.personas import load_judge, load_personas, load_synthesis, load_title

AGENTS = [*load_personas().values()]
PERSONAS = [*AGENTS, load_synthesis(), load_judge(), load_title()]
#: Version and digest of what each is told. A changed text needs a new version: answers that were
#: made with the old one are told apart by it.
TOLD = {
    "dev": ("2", "5a2708e955cb"),
    "luna": ("2", "75a6efa9450a"),
    "atlas": ("2", "84d77838f292"),
    "quinn": ("2", "50f21218a0ff"),
    "sage": ("2", "ba4e4896c367"),
    "synthesis": ("1", "a200288df0f1"),
    "judge": ("1", "a188adb1d44c"),
    "title": ("1", "f01b22feb955"),
}


def digest_of(persona):
    told = f"{persona.prompt}\0{persona.revision_prompt}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
def test_prompt_has_the_version_that_belongs_to_its_text(persona):
    assert (persona.prompt_version, digest_of(persona)) == TOLD[persona.name]


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
def test_prompt_fits_into_what_a_reservation_allows_for_it(persona):
    told = f"{persona.prompt}{persona.revision_prompt}"
    assert estimate_tokens(told) < PROMPT_TOKENS


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
def test_prompt_begins_with_who_speaks(persona):
    assert persona.prompt.startswith(f"You are {persona.title}, ")


@pytest.mark.parametrize("persona", AGENTS, ids=lambda persona: persona.name)
def test_agent_has_a_method_limits_and_knows_to_whom_the_rest_belongs(persona):
    sections = ["How you work", "What you do not guess", "Handing over"]
    assert [line for line in persona.prompt.splitlines() if line in sections] == sections

    handing_over = persona.prompt.split("Handing over")[1]
    others = {other.title for other in AGENTS if other is not persona}
    assert {title for title in others if title in handing_over} == others
