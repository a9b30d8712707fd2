"""An answer as it is kept, and what made of it an answer worth keeping."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from core.chat import Usage
from core.jobs import JobSpec, JobStatus
from core.outcome import Answer, Outcome, Route
from core.team import add_up

_WHOLE: Final = "stop"


class Entry(Struct, frozen=True, kw_only=True, array_like=True):
    """One kept answer.

    Attributes:
        asked_ms: when its job was submitted, Unix milliseconds; a purge after that voids it.
        cost_micros: what a hit saves.
        models: every model that had a part in it.
        kept_until_ms: when it ends to serve, wherever it lies, Unix milliseconds.
    """

    answer: Answer
    route: Route | None
    usage: Usage
    cost_micros: int
    user_id: str
    models: tuple[str, ...]
    version: str
    asked_ms: int
    kept_until_ms: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def to_entry(spec: JobSpec, status: JobStatus, outcome: Outcome, version: str) -> Entry | None:
    """Return what is kept of an ended job; None of one that failed, was cut or is degraded."""
    answer = outcome.answer
    if status is not JobStatus.COMPLETED or answer is None or answer.finish_reason != _WHOLE:
        return None
    reports = [*outcome.agents, *([outcome.synthesis] if outcome.synthesis else [])]
    is_second_choice = any(report.error or report.fallback_from for report in reports)
    if outcome.degraded or is_second_choice or not answer.text:
        return None
    return Entry(
        answer=answer,
        route=outcome.route,
        # What the answer took; the outcome's own figures are those of its last calls alone.
        usage=add_up(report.usage for report in reports),
        cost_micros=sum(report.cost_micros for report in reports),
        user_id=spec.user_id,
        models=tuple(dict.fromkeys(report.model for report in reports)),
        version=version,
        asked_ms=spec.created_ms,
    )


def encode(entry: Entry) -> bytes:
    return _encoder.encode(entry)


def decode(data: bytes) -> Entry | None:
    """Return the entry, or None when another version of Aether wrote it."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        return None
