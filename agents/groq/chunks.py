"""What one chunk of a chat completion says, read field by field.

A field that is null, absent or of another type says nothing; fields that are not known are ignored.
The body of a completion that was not streamed is read as one chunk.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from agents.groq.failures import Failure, failure_in
from core.chat import Usage

#: More tokens than any model takes or gives in one call.
_MAX_TOKENS: Final = 10_000_000
_REASON_CHARS: Final = 64
_INTEGER: Final = re.compile(r"\d{1,12}(?:\.0*)?", re.ASCII)
_NOT_ANSWERS: Final = re.compile(r"reason|think|tool|refus", re.IGNORECASE)
_decoder = msgspec.json.Decoder()


class Chunk(Struct, frozen=True):
    """What a chunk carries.

    Attributes:
        is_message: the text came as a message, which may repeat what came in pieces.
        reasoning_chars: of the model's thoughts, which are no part of the answer.
        others: what came beside text: "reasoning", "tool calls", "a refusal".
        usage: None where the provider told none that can be true.
        reasoning_tokens: of its output, where the provider told.
    """

    text: str = ""
    is_message: bool = False
    reasoning_chars: int = 0
    others: tuple[str, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    reasoning_tokens: int | None = None
    failure: Failure | None = None


def decode(data: str) -> Any:
    """Return the value of a JSON text, tolerating NaN and unpaired surrogates.

    Raises:
        ValueError: the text is no JSON.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        pass
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def to_chunk(body: object) -> Chunk:
    """Return what a decoded chunk says; what is no object says nothing."""
    if not isinstance(body, dict):
        return Chunk()
    choice = _choice(body)
    delta = _object(choice.get("delta"))
    message = _object(choice.get("message"))
    # Where the places repeat each other, the first that has text counts.
    streamed = _text(delta.get("content")) or _text(choice.get("text"))
    thoughts = _thoughts(delta) or _thoughts(message)
    found = {
        "reasoning": bool(thoughts),
        "tool calls": any(
            part.get(name) for part in (delta, message) for name in ("tool_calls", "function_call")
        ),
        "a refusal": any(_text(part.get("refusal")) for part in (delta, message)),
    }
    reason = choice.get("finish_reason")
    if not isinstance(reason, str) or reason.lower() in ("", "null", "none"):
        reason = None
    return Chunk(
        text=streamed or _text(message.get("content")),
        is_message=not streamed,
        reasoning_chars=len(thoughts),
        others=tuple(name for name, is_there in found.items() if is_there),
        finish_reason=reason[:_REASON_CHARS] if reason else None,
        usage=_usage_of(body),
        reasoning_tokens=_reasoning_tokens(body),
        failure=failure_in(body),
    )


def _choice(body: dict[str, Any]) -> dict[str, Any]:
    """Return the first choice, the only one that was asked for."""
    choices = body.get("choices")
    if not isinstance(choices, list):
        # Some servers send the choice itself.
        return body if choices is None else _object(choices)
    for choice in choices:
        if isinstance(choice, dict):
            index = choice.get("index")
            return choice if not isinstance(index, int) or index == 0 else {}
    return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """Return the text of a content: a string, or the parts of a list that are text."""
    if isinstance(value, str):
        # Halves of a character that JSON escaped one by one cannot be encoded later.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return "".join(_text(part) for part in value if not isinstance(part, list))
    if isinstance(value, dict) and not _NOT_ANSWERS.search(str(value.get("type") or "")):
        text = value.get("text")
        inner = text.get("value") if isinstance(text, dict) else text
        return _text(inner) if isinstance(inner, str) else ""
    return ""


def _thoughts(part: dict[str, Any]) -> str:
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(part.get(name), str):
            return str(part[name])
    content = part.get("content")
    parts = content if isinstance(content, list) else []
    typed = (str(p.get("type") or "") for p in parts if isinstance(p, dict))
    return json.dumps(content) if any("think" in t or "reason" in t for t in typed) else ""


def _usage_of(body: dict[str, Any]) -> Usage | None:
    """Return the tokens used, as OpenAI (`usage`) or as Groq (`x_groq.usage`) reports them."""
    extra = _object(body.get("x_groq"))
    found = (to_usage(part) for part in (body.get("usage"), extra.get("usage")))
    return next((usage for usage in found if usage is not None), None)


def _reasoning_tokens(body: dict[str, Any]) -> int | None:
    for part in (body.get("usage"), _object(body.get("x_groq")).get("usage")):
        details = _object(_object(part).get("completion_tokens_details"))
        if details.get("reasoning_tokens") is not None:
            return _count(details["reasoning_tokens"])
    return None


def to_usage(value: object) -> Usage | None:
    """Return a usage whose numbers can be true; otherwise None, as if none had come."""
    fields = _object(value)
    details = _object(fields.get("prompt_tokens_details"))
    input_ = _count(fields.get("prompt_tokens"))
    output = _count(fields.get("completion_tokens", 0))
    cached_value = details.get("cached_tokens")
    cached = 0 if cached_value is None else _count(cached_value)
    if input_ is None or output is None or cached is None or cached > input_:
        return None
    return Usage(input_tokens=input_, cached_input_tokens=cached, output_tokens=output)


def _count(value: object) -> int | None:
    """Return a whole number from 0 to `_MAX_TOKENS`, however it is written; else None."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _MAX_TOKENS or not math.isfinite(value) or value != int(value):
        return None
    return int(value)
