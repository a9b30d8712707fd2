"""Which agents answer: the requested ones, or those whose skills the question names.

More agents cost more and do not by themselves answer better. A second agent is chosen only when the
question has a part of its own for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from agents.relevance import Relevance, rate
from core.errors import UnknownAgent
from core.personas import Persona

#: Answers questions that name no agent's skills, or those of several agents equally.
_GENERALIST: Final = "sage"
_TERMS_IN_REASON: Final = 4
_ASKED_FOR: Final = "asked for by name"
#: The least score that counts as a part of its own: one term of weight 3, or several weaker ones.
_OWN_PART: Final = 3
#: An agent below this share of the best score is not chosen: it would add cost, not an answer.
_SHARE_OF_BEST: Final = 1 / 4


class Selection(Struct, frozen=True):
    """A chosen agent, and why it was chosen."""

    persona: Persona
    reason: str


class Team(Struct, frozen=True):
    """The agents that answer together, the most relevant first, and why they were chosen."""

    members: tuple[Selection, ...]
    reason: str


def select_agent(message: str, requested: str | None, personas: Mapping[str, Persona]) -> Selection:
    """Return the requested agent, or the most relevant one.

    Raises:
        UnknownAgent: no persona has the requested name.
    """
    if requested is not None:
        if requested not in personas:
            raise UnknownAgent(field="agent")
        return Selection(personas[requested], _ASKED_FOR)
    return _most_relevant(rate(message, personas), personas)


def select_team(
    message: str,
    requested: Sequence[str] | None,
    personas: Mapping[str, Persona],
    *,
    most: int,
) -> Team:
    """Return the requested agents, or up to `most` for which the question has a part each.

    A question that does not split gets one agent, as `select_agent` chooses it.

    Args:
        requested: names, repeats ignored; None to let relevance decide.
        most: how many agents relevance may choose, at least 1; it does not bound `requested`.

    Raises:
        UnknownAgent: no persona has one of the requested names.
    """
    relevance = rate(message, personas)
    if requested is not None:
        return _asked_for(requested, relevance, personas)
    best = max(rated.score for rated in relevance.values())
    needed = max(_OWN_PART, best * _SHARE_OF_BEST)
    names = _by_relevance([n for n in personas if relevance[n].score >= needed], relevance)
    chosen = names[:most]
    if len(names) < 2:
        one = _most_relevant(relevance, personas)
        return Team((one,), f"one agent is enough; {one.reason}")
    if len(chosen) < 2:
        return Team(_members(chosen, relevance, personas), "no more than one agent may answer")
    reason = f"the question has parts for {_listed(chosen)}"
    return Team(_members(chosen, relevance, personas), reason)


def _asked_for(
    names: Sequence[str], relevance: Mapping[str, Relevance], personas: Mapping[str, Persona]
) -> Team:
    if not personas.keys() >= set(names):
        raise UnknownAgent(field="agents")
    ordered = _by_relevance(list(dict.fromkeys(names)), relevance)
    return Team(tuple(Selection(personas[name], _ASKED_FOR) for name in ordered), _ASKED_FOR)


def _most_relevant(
    relevance: Mapping[str, Relevance], personas: Mapping[str, Persona]
) -> Selection:
    best = max(rated.score for rated in relevance.values())
    if not best:
        return Selection(personas[_GENERALIST], "nothing in the message names a skill")
    best_names = [name for name, rated in relevance.items() if rated.score == best]
    if len(best_names) > 1:
        reason = f"the message matches {_listed(best_names)} equally"
        return Selection(personas[_GENERALIST], reason)
    return _members(best_names, relevance, personas)[0]


def _by_relevance(names: list[str], relevance: Mapping[str, Relevance]) -> list[str]:
    return sorted(names, key=lambda name: -relevance[name].score)


def _members(
    names: Sequence[str], relevance: Mapping[str, Relevance], personas: Mapping[str, Persona]
) -> tuple[Selection, ...]:
    return tuple(
        Selection(personas[name], f"the message names: {_strongest(personas[name], rated)}")
        for name in names
        for rated in [relevance[name]]
    )


def _strongest(persona: Persona, rated: Relevance) -> str:
    terms = sorted(rated.terms, key=lambda term: -persona.skills[term])
    return ", ".join(terms[:_TERMS_IN_REASON])


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
