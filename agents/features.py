"""Features of a question that hint at its difficulty: counts, mapped to values from 0 to 1.

A feature counts the words that the data file lists for it, or has a function in `COUNTERS`.
Every pattern matches in linear time: no repetition is inside or next to another one that could
match the same characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from core.routing_rules import Feature

#: Of a longer message only its beginning and end are searched; its length counts in full.
_HEAD_CHARS: Final = 1500
_TAIL_CHARS: Final = 500
#: Characters that count as one word in text with few English words.
_CHARS_PER_WORD: Final = 8

_TOKEN: Final = re.compile(r"[a-z]+|[.?!;:,\n]")
_NUMBER: Final = re.compile(r"\d[\d,.]*")
_AMOUNT: Final = re.compile(r"[$€£] ?\d|\d ?%")
_FORMULA: Final = re.compile(r"\\[a-zA-Z]|\^|_\{|\$(?=[^\s\d])")
_SYMBOL: Final = re.compile(r"[=<>≤≥≠±×÷√∑∏∫∂∞∀∃∈∪∩→⇒⟹π+*/|]")
_CODE_LINE: Final = re.compile(
    r"^[ \t]*(?:def|class|return|import|for|while|if|assert|print|function|const|let|var|public"
    r"|int|void|SELECT|#include)\b[^\n:;(){}=\[]*[:;(){}=\[]",
    re.MULTILINE,
)
_ITEM: Final = re.compile(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]", re.MULTILINE)

_ENDS: Final = frozenset(".?!;:\n")
#: Tokens after which a verb is a demand.
_BEFORE_DEMAND: Final = _ENDS | {",", "and", "then", "also", "please", "or", "to", "you"}
_EXECUTION: Final = frozenset(
    {"assert", "evaluate", "execute", "executed", "executing", "output", "outputs", "print"}
    | {"printed", "prints", "result", "returned", "returns", "trace", "value"}
)
#: One-letter words that are no variables: `a`, `I`, and the s and t of contractions.
_LETTER_WORDS: Final = frozenset("aist")


class Text(Struct, frozen=True):
    """A message prepared for counting; `tokens` are its lower-case words and punctuation."""

    whole: str
    tokens: Sequence[str]
    words: Mapping[str, int]
    chars: int
    depth: int
    demand_verbs: frozenset[str]


def measure(message: str, depth: int, features: Mapping[str, Feature]) -> dict[str, float]:
    """Return each feature's value: 0 when its count is 0, approaching 1 as the count grows.

    Args:
        depth: the number of earlier exchanges in the conversation.
    """
    text = _read(message, depth, features["demands"].words)
    return {
        name: _saturate(
            COUNTERS[name](text) if name in COUNTERS else _count(text, feature), feature
        )
        for name, feature in features.items()
    }


def _read(message: str, depth: int, demand_verbs: frozenset[str]) -> Text:
    whole = message
    if len(message) > _HEAD_CHARS + _TAIL_CHARS:
        whole = f"{message[:_HEAD_CHARS]}\n{message[-_TAIL_CHARS:]}"
    tokens = _TOKEN.findall(whole.lower())
    return Text(whole, tokens, Counter(tokens), len(message), depth, demand_verbs)


def _count(text: Text, feature: Feature) -> float:
    return sum(text.words[word] for word in feature.words & text.words.keys())


def _saturate(count: float, feature: Feature) -> float:
    return count / (count + feature.half)


def _length(text: Text) -> float:
    """Count words; text with few English words (other languages, code) counts by characters."""
    return max(len(text.tokens), text.chars / _CHARS_PER_WORD)


def _demands(text: Text) -> float:
    """Count demands beyond the first one: question marks, and verbs in imperative position."""
    asked = text.words.get("?", 0)
    before = "."
    for token in text.tokens:
        asked += token in text.demand_verbs and before in _BEFORE_DEMAND
        before = token
    return max(0, asked - 1)


def _code(text: Text) -> float:
    return text.whole.count("```") + len(_CODE_LINE.findall(text.whole))


def _executed(text: Text) -> float:
    """Count lines of code if the message asks what they output."""
    return _code(text) if _EXECUTION & text.words.keys() else 0.0


def _variables(text: Text) -> float:
    return len({word for word in text.words if len(word) == 1 and word.isalpha()} - _LETTER_WORDS)


#: The features that are counted by a function, by name.
COUNTERS: Final[Mapping[str, Callable[[Text], float]]] = {
    "length": _length,
    "length_middle": lambda text: max(0.0, _length(text) - 40),
    "demands": _demands,
    "numbers": lambda text: len(set(_NUMBER.findall(text.whole))),
    "amounts": lambda text: len(_AMOUNT.findall(text.whole)),
    "formulas": lambda text: len(_FORMULA.findall(text.whole)),
    "symbols": lambda text: len(_SYMBOL.findall(text.whole)),
    "variables": _variables,
    "code": _code,
    "executed": _executed,
    "items": lambda text: len(_ITEM.findall(text.whole)),
    "depth": lambda text: text.depth,
}
