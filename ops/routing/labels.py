"""Prompts whose answers by a weak and a strong model were marked."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from core.comparisons import Verdict

_MARKS: Final[dict[Verdict, tuple[float, float]]] = {
    "worse": (0.0, 1.0),
    "tie": (1.0, 1.0),
    "better": (1.0, 0.0),
}


class Labelled(Struct, frozen=True):
    """A prompt, and what a weak and a strong model's answers to it were worth, from 0 to 1.

    Attributes:
        source: the collection it is from; empty where there is only one.
    """

    prompt: str
    weak: float
    strong: float
    source: str = ""


def label_of(question: str, verdict: Verdict) -> Labelled:
    """Return a comparison's label; a tie is a question that the weak model can answer."""
    return Labelled(question, *_MARKS[verdict])
