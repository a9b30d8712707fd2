"""Titles of conversations: what the quick tier is asked, and what is taken of its answer."""

from __future__ import annotations

import re
from typing import Final

#: Output tokens of a title, and of a model's reasoning before it.
TITLE_TOKENS: Final = 256
_MOST_CHARS: Final = 80
_MOST_QUOTED: Final = 2_000
_LABEL: Final = re.compile(r"^(?:[#>*\s-]+|title\s*:\s*)+", re.IGNORECASE)
_AROUND: Final = " \t*_`\"'“”„‘’«»「」"


def ask_for_title(question: str, answer: str) -> str:
    """Return the message that asks for a title of what begins so."""
    return f"Question:\n{question[:_MOST_QUOTED]}\n\nAnswer:\n{answer[:_MOST_QUOTED]}"


def read_title(text: str) -> str | None:
    """Return the title that an answer holds, at most 80 characters; None where it holds none.

    Labels, quotation marks, marks of Markdown and a full stop around it are no part of it.
    """
    lines = (_LABEL.sub("", line.strip(_AROUND)) for line in text.splitlines())
    first = next((line for line in map(_without_ends, lines) if line), "")
    if not any(character.isalnum() for character in first):
        return None
    if len(first) <= _MOST_CHARS:
        return first
    cut, _, _ = first[: _MOST_CHARS - 1].rpartition(" ")
    return f"{cut or first[: _MOST_CHARS - 1]}…"


def _without_ends(line: str) -> str:
    return " ".join(line.split()).strip(_AROUND).rstrip(".。").strip(_AROUND)
