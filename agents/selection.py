"""Which agent answers: the one asked for, or the one whose skills the question names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from agents.personas import Persona

#: Takes the questions that name nobody's skills, and breaks ties.
_GENERALIST: Final = "sage"
_WORD = re.compile(r"[a-z]+")
_WORDS_IN_REASON: Final = 4


class Selection(Struct, frozen=True):
    """The chosen agent and, in one sentence, why."""

    persona: Persona
    reason: str


def select_agent(message: str, requested: str | None, personas: Mapping[str, Persona]) -> Selection:
    """Return the requested agent, or the one with the most distinct skill words in the message.

    Args:
        requested: a name of `core.job.AGENT_NAMES`; others are refused when a job is submitted.
    """
    if requested is not None:
        return Selection(personas[requested], "asked for by name")
    words = dict.fromkeys(_WORD.findall(message.lower()))
    matches = {
        name: [word for word in words if word in persona.skills]
        for name, persona in personas.items()
    }
    best = max(matches, key=lambda name: (len(matches[name]), name == _GENERALIST))
    if not matches[best]:
        return Selection(personas[_GENERALIST], "nothing in the message names a speciality")
    named = ", ".join(matches[best][:_WORDS_IN_REASON])
    return Selection(personas[best], f"the message names: {named}")
