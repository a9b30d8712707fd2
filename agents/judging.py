"""Which of two answers to one question is better, asked blind and in both orders.

A judge that prefers a place to an answer says `first` twice: the two verdicts then name different
answers, which is a tie.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from agents.team_prompts import Contribution, build_synthesis
from core.chat import Message
from core.comparisons import Verdict
from core.personas import Persona

Choice = Literal["first", "second", "tie"]

_CHOICES: Final[dict[str, Choice]] = {"first": "first", "second": "second", "tie": "tie"}


class Judgements(Struct, frozen=True):
    """The messages of both orders, named after the cheaper answer's place."""

    cheaper_first: tuple[Message, ...]
    cheaper_second: tuple[Message, ...]


def build_judgements(
    persona: Persona, question: str, *, cheaper: str, deep: str, budget_tokens: int
) -> Judgements:
    """Return what the judge is shown of two answers, in one order and in the other.

    They are quoted as the replies of a team are for its synthesis: untrusted, under a mark that no
    text contains, cut alike where the budget is short. Nothing says who gave which.

    Args:
        persona: who judges, of `load_judge`.
        budget_tokens: for everything; prompt and question are always in, whatever they take.
    """

    def show(first: str, second: str) -> tuple[Message, ...]:
        answers = (
            Contribution(name="first", title="First", text=first),
            Contribution(name="second", title="Second", text=second),
        )
        return build_synthesis(persona, question, answers, (), budget_tokens=budget_tokens)

    return Judgements(show(cheaper, deep), show(deep, cheaper))


def read_choice(text: str) -> Choice | None:
    """Return what the judge chose; None unless it said one of the three words and nothing else."""
    return _CHOICES.get(text.strip().removesuffix(".").lower())


def verdict_of(cheaper_first: Choice, cheaper_second: Choice) -> Verdict:
    """Return what both orders say of the cheaper answer; orders that disagree are a tie.

    Args:
        cheaper_first: the choice when the cheaper answer was shown first.
        cheaper_second: the choice when it was shown second.
    """
    match cheaper_first, cheaper_second:
        case "first", "second":
            return "better"
        case "second", "first":
            return "worse"
        case _:
            return "tie"
