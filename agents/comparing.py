"""Whether a cheap answer holds: checks that need no judge, and what of two answers can agree."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_SHORT_ANSWER: Final = re.compile(
    r"\bhow (?:many|much|old|far|long|often|tall|fast|big)\b|\b(?:yes or no|true or false)\b"
    r"|\bwhich of (?:these|the following)\b|\b(?:calculate|compute|classify)\b"
    r"|\bwhat is -?\d|\bonly (?:with )?(?:the|a|one) (?:number|word|name|letter|answer|label)\b",
    re.IGNORECASE,
)
_WANTS_JSON: Final = re.compile(r"\b(?:as|in|is|only|return|valid)(?: a)? json\b", re.IGNORECASE)
_CHOICE_LINE: Final = re.compile(r"^[ \t]*\(?[A-J][.)][ \t]", re.MULTILINE)
_REFUSAL: Final = re.compile(
    r"(?:i'm sorry|i am sorry|sorry,|i can't|i cannot|i can not|i'm unable|i am unable|i won't"
    r"|as an ai)",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_STATED: Final = re.compile(r"\b(?:answer|result|total)(?: is|:| =)\s*([^\n]+)|#### ([^\n]+)", re.I)
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_CHOICE: Final = re.compile(r"\(?([A-J])[).:]?(?=\s|$)")
_VERDICT: Final = re.compile(r"(yes|no|true|false)\b", re.IGNORECASE)
_NO_WORD: Final = re.compile(r"[^\w\s.-]")
#: Longer answers are prose; two of them never read alike.
_MOST_WORDS: Final = 6


def wants_short(question: str) -> bool:
    """Say whether the answer is one that another can be compared with: a number, a class, JSON."""
    has_choices = len(_CHOICE_LINE.findall(question)) > 1
    return has_choices or bool(_SHORT_ANSWER.search(question) or _WANTS_JSON.search(question))


def fault_of(question: str, text: str, finish_reason: str) -> str | None:
    """Return what is plainly wrong with an answer, None if nothing is."""
    text = text.strip()
    if finish_reason != "stop":
        return "the quick answer was cut short"
    if not text:
        return "the quick answer was empty"
    if _REFUSAL.match(text.replace("\u2019", "'")):
        return "the quick model refused"
    if _WANTS_JSON.search(question) and _to_json(text) is None:
        return "the quick answer is not the JSON that was asked for"
    return None


def agree(one: str, other: str) -> bool:
    """Say whether two answers come to the same; False also where that cannot be told."""
    core = comparable(one)
    return core is not None and core == comparable(other)


def comparable(text: str) -> str | None:
    """Return what an answer comes to, in one form for all ways to put it; None for prose."""
    text = text.strip()
    if (fields := _to_json(text)) is not None:
        return fields
    said = text.replace("*", "").replace("`", "").replace("$", "")
    stated = [found[1] or found[2] for found in _STATED.finditer(said)]
    candidate = (stated[-1] if stated else said).strip()
    if choice := _CHOICE.match(candidate):
        return choice[1]
    if verdict := _VERDICT.match(candidate):
        return verdict[1].lower()
    if numbers := _NUMBER.findall(candidate):
        return _to_plain(numbers[-1])
    words = _NO_WORD.sub(" ", candidate.lower()).rstrip(". ").split()
    return " ".join(words) if 0 < len(words) <= _MOST_WORDS else None


def _to_json(text: str) -> str | None:
    """Return a JSON object or list in one canonical form."""
    fenced = _FENCE.search(text)
    try:
        value = msgspec.json.decode(fenced[1] if fenced else text)
    except msgspec.DecodeError:
        return None
    if not isinstance(value, dict | list):
        return None
    return msgspec.json.encode(value, order="deterministic").decode()


def _to_plain(number: str) -> str:
    return f"{float(number.replace(',', '')):.12g}"
