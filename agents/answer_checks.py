"""What is plainly wrong with a quick answer, checked without another model."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_WANTS_JSON: Final = re.compile(r"\b(?:as|in|is|only|return|valid)(?: a)? json\b", re.IGNORECASE)
_REFUSAL: Final = re.compile(
    r"(?:i'm sorry|i am sorry|sorry,|i can't|i cannot|i can not|i'm unable|i am unable|i won't"
    r"|as an ai)",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"```\w*\n(.*?)```", re.DOTALL)


def fault_of(question: str, text: str, finish_reason: str) -> str | None:
    """Return the fault of a quick answer in words; None if no check finds one."""
    text = text.strip()
    if finish_reason != "stop":
        return "the quick answer was cut short"
    if not text:
        return "the quick answer was empty"
    if _REFUSAL.match(text.replace("\u2019", "'")):
        return "the quick model refused"
    if _WANTS_JSON.search(question) and not _is_json(text):
        return "the quick answer is not the JSON that was asked for"
    return None


def _is_json(text: str) -> bool:
    """Say whether the text, or its first fenced block, is a JSON object or list."""
    fenced = _FENCE.search(text)
    try:
        return isinstance(msgspec.json.decode(fenced[1] if fenced else text), dict | list)
    except msgspec.DecodeError:
        return False
