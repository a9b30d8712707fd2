"""One agent's answer: run the model, account for it, and never raise for its failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import structlog
from msgspec import Struct

from agents.personas import Persona
from core.chat import (
    ChatModel,
    Message,
    ModelRequest,
    StopReason,
    StopSignal,
    StreamEnd,
    Usage,
)
from core.errors import ModelError, TurnStopped
from core.job import AgentReport, JobError
from core.models import Catalogue, Model, Tier, estimate_tokens

logger = structlog.get_logger(__name__)

Status = Literal["completed", "failed", "cancelled", "incomplete"]


class Turn(Struct, frozen=True, kw_only=True):
    """What one agent is to answer, and with what."""

    persona: Persona
    tier: Tier
    model: Model
    reason: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """What one agent returned; `text` may be partial unless the report says completed."""

    text: str
    finish_reason: str
    report: AgentReport


class _Ending(Struct, frozen=True):
    status: Status
    finish_reason: str
    usage: Usage | None = None
    error: JobError | None = None


def run_turn(
    turn: Turn,
    chat_model: ChatModel,
    catalogue: Catalogue,
    *,
    deadline: float,
    stop: StopSignal,
    on_text: Callable[[str], None],
) -> Reply:
    """Have the agent answer; `on_text` gets each piece as it arrives.

    A failure of the model is part of the reply. Where the provider sent no usage, it is estimated
    from the text that came; a call that brought nothing counts as unused.
    """
    started = time.monotonic()
    pieces: list[str] = []
    first_token_s: float | None = None

    def take(text: str) -> None:
        nonlocal first_token_s
        if first_token_s is None:
            first_token_s = time.monotonic() - started
        pieces.append(text)
        on_text(text)

    ending = _run(turn, chat_model, deadline, stop, take)
    text = "".join(pieces)
    usage = ending.usage or _estimate(turn.messages, text)
    report = AgentReport(
        name=turn.persona.name,
        status=ending.status,
        tier=turn.tier,
        model=turn.model.id,
        reason=turn.reason,
        usage=usage,
        cost_micros=catalogue.cost_micros(turn.model, usage),
        timing_ms={
            "first_token": None if first_token_s is None else round(first_token_s * 1000),
            "total": round((time.monotonic() - started) * 1000),
        },
        error=ending.error,
    )
    return Reply(text=text, finish_reason=ending.finish_reason, report=report)


def _run(
    turn: Turn,
    chat_model: ChatModel,
    deadline: float,
    stop: StopSignal,
    take: Callable[[str], None],
) -> _Ending:
    request = ModelRequest(
        model=turn.model.id,
        messages=turn.messages,
        max_tokens=turn.max_tokens,
        temperature=turn.temperature,
    )
    try:
        for item in chat_model.stream(request, deadline=deadline, stop=stop):
            if isinstance(item, StreamEnd):
                return _of_end(item)
            take(item.text)
    except TurnStopped:
        return _of_stop(stop.reason)
    except ModelError as error:
        logger.warning("model failed", code=error.code, reason=error.message)
        return _Ending("failed", "error", error=JobError(error.code, error.message))
    raise AssertionError("a stream ends with StreamEnd or raises")


def _of_end(end: StreamEnd) -> _Ending:
    if end.finish_reason == "length":
        error = JobError("token_limit", "The answer reached its token limit.")
        return _Ending("incomplete", "length", end.usage, error)
    return _Ending("completed", end.finish_reason, end.usage)


def _of_stop(reason: StopReason | None) -> _Ending:
    if reason is StopReason.CANCELLED:
        return _Ending(
            "cancelled", "cancelled", error=JobError("cancelled", "The job was cancelled.")
        )
    error = JobError(
        "deadline_exceeded", "The job's deadline passed before its answer was complete."
    )
    return _Ending("incomplete", "deadline", error=error)


def _estimate(messages: tuple[Message, ...], text: str) -> Usage:
    if not text:
        return Usage()
    return Usage(
        input_tokens=sum(estimate_tokens(message.content) for message in messages),
        output_tokens=estimate_tokens(text),
    )
