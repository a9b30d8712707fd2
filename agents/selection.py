"""Which agent answers: the one asked for, or the one whose skills the question names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from agents.personas import Persona
from core.errors import UnknownAgent

#: Takes the questions that name nobody's skills, or several agents' alike.
_GENERALIST: Final = "sage"
_WORD = re.compile(r"[a-z]+")
_WORDS_IN_REASON: Final = 4


class Selection(Struct, frozen=True):
    """The chosen agent and, in one sentence, why."""

    persona: Persona
    reason: str


def select_agent(message: str, requested: str | None, personas: Mapping[str, Persona]) -> Selection:
    """Return the requested agent, or the one with the most distinct skill words in the message.

    Raises:
        UnknownAgent: the requested one is none of the personas.
    """
    if requested is not None:
        if requested not in personas:
            raise UnknownAgent(field="agent")
        return Selection(personas[requested], "asked for by name")
    words = dict.fromkeys(_WORD.findall(message.lower()))
    matches = {
        name: [word for word in words if word in persona.skills]
        for name, persona in personas.items()
    }
    most = max(map(len, matches.values()))
    if not most:
        return Selection(personas[_GENERALIST], "nothing in the message names a speciality")
    nearest = [name for name, named in matches.items() if len(named) == most]
    if len(nearest) > 1:
        reason = f"the message is as near to {' as to '.join(nearest)}"
        return Selection(personas[_GENERALIST], reason)
    words_in_reason = ", ".join(matches[nearest[0]][:_WORDS_IN_REASON])
    return Selection(personas[nearest[0]], f"the message names: {words_in_reason}")
