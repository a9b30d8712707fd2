"""What a job most likely costs, and what it costs at least: what its budgets hold for it.

The worker asks for more before a call that needs it and while an answer grows, so a reservation is
the likely cost and never the worst one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from msgspec import Struct

from core.chat import Usage
from core.jobs import TeamRequest
from core.lessons import Lesson
from core.models import TIERS, Catalogue, Model
from core.personas import Persona, load_personas
from core.team import MOST_CHOSEN

#: A prompt has at least so much of the tokens that it is estimated at.
_LEAST_INPUT_SHARE: Final = 0.5
#: What relevance chooses between two and four.
_LIKELY_AGENTS: Final = 3

LessonOf = Callable[[Model], Lesson]


class Reservation(Struct, frozen=True):
    """Micro-dollars that a job most likely costs, and at least if a model is called at all."""

    expected_micros: int
    least_micros: int


class Ask(Struct, frozen=True, kw_only=True):
    """What of a request its cost depends on.

    Attributes:
        model: who answers; None where the router is free to choose.
        chars: of the question.
    """

    chars: int
    max_tokens: int
    agent: str | None = None
    model: Model | None = None
    team: TeamRequest | None = None


def reserve(ask: Ask, catalogue: Catalogue, lesson_of: LessonOf) -> Reservation:
    """Return what a job most likely costs.

    Where the router is free the cheapest tier counts: before a dearer call the worker asks for
    the rest.
    """
    if ask.team is not None:
        return _reserve_team(ask, ask.team, catalogue, lesson_of)
    model = ask.model or catalogue.for_tier(TIERS[0])
    lesson = lesson_of(model)
    tokens_in = lesson.input_tokens(ask.chars + _prompt_chars(ask.agent, model))
    return _of_call(catalogue, model, lesson, tokens_in, ask.max_tokens)


def shares_of(team: TeamRequest | None) -> int:
    """Return in how many equal shares a reservation is held: one for each likely call."""
    if team is None:
        return 1
    agents = len(team.agents) if team.agents else _LIKELY_AGENTS
    return agents * team.rounds + int(team.synthesis)


def units_of(team: TeamRequest | None) -> int:
    """Return how many model calls a job makes at a time at most."""
    if team is None:
        return 1
    return len(team.agents) if team.agents else MOST_CHOSEN


def _reserve_team(
    ask: Ask, team: TeamRequest, catalogue: Catalogue, lesson_of: LessonOf
) -> Reservation:
    names = team.agents or tuple(_personas())[:_LIKELY_AGENTS]
    expected, least, replies = 0, 0, 0
    for round_number in range(team.rounds):
        said = 0
        for name in names:
            model = catalogue.for_tier(_personas()[name].tier)
            lesson = lesson_of(model)
            tokens_in = lesson.input_tokens(ask.chars + _prompt_chars(name, model)) + replies
            call = _of_call(catalogue, model, lesson, tokens_in, ask.max_tokens)
            expected += call.expected_micros
            least += call.least_micros if round_number == 0 else 0
            said += min(lesson.text_tokens, ask.max_tokens)
        replies = said
    if team.synthesis and len(names) > 1:
        model = catalogue.for_tier(TIERS[-1])
        lesson = lesson_of(model)
        tokens_in = lesson.input_tokens(ask.chars + _prompt_chars(None, model)) + replies
        expected += _of_call(catalogue, model, lesson, tokens_in, ask.max_tokens).expected_micros
    return Reservation(expected, least)


def _of_call(
    catalogue: Catalogue, model: Model, lesson: Lesson, tokens_in: int, max_tokens: int
) -> Reservation:
    out = min(lesson.output_tokens, max_tokens, model.max_output_tokens)
    return Reservation(
        catalogue.cost_micros(model, Usage(input_tokens=tokens_in, output_tokens=out)),
        catalogue.cost_micros(
            model, Usage(input_tokens=int(tokens_in * _LEAST_INPUT_SHARE), output_tokens=1)
        ),
    )


@cache
def _personas() -> dict[str, Persona]:
    return load_personas()


def _prompt_chars(agent: str | None, model: Model) -> int:
    """Return the length of an agent's system prompt; where none is named, of the longest."""
    return _chars_by_want(agent)[model.system_prompt]


@cache
def _chars_by_want(agent: str | None) -> dict[str, int]:
    chosen = [persona for name, persona in _personas().items() if agent in (None, name)]
    return {
        "full": max(len(persona.prompt) for persona in chosen),
        "brief": max(len(persona.brief) for persona in chosen),
        "none": 0,
    }
