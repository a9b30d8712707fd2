"""A kept answer: which answers are kept, how one is encoded, and the job that it answers."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct

from core.events import NewEvent, answer_delta, cache_hit
from core.jobs import JobSpec, JobStatus
from core.money import saved_by_cache, to_usd
from core.outcome import Answer, CacheLayer, CacheUse, Outcome, Route

#: The finish reason of an answer that the model ended by itself.
_STOP: Final = "stop"


class Entry(Struct, frozen=True, kw_only=True, array_like=True):
    """One kept answer.

    Attributes:
        cost_micros: what its model calls cost, which is what a hit saves.
        models: every model that contributed to it.
        version: of the prompts and weights that it was made with.
        asked_ms: when its job was submitted, Unix milliseconds; a later purge voids it.
        expires_ms: when it stops to serve, in every layer, Unix milliseconds.
    """

    answer: Answer
    route: Route | None
    cost_micros: int
    user_id: str
    models: tuple[str, ...]
    version: str
    asked_ms: int
    expires_ms: int = 0


class Hit(Struct, frozen=True):
    """A kept answer that may be used, the layer it was found in, and its age in seconds."""

    entry: Entry
    layer: CacheLayer
    age_s: float

    def to_outcome(self, timing_ms: dict[str, int | None], *, coalesced: bool = False) -> Outcome:
        """Return the outcome of the job that this answers: no usage, no cost, all of it saved.

        Args:
            coalesced: the job had waited for another one that asked the same.
        """
        status: Literal["hit", "coalesced"] = "coalesced" if coalesced else "hit"
        return Outcome(
            answer=self.entry.answer,
            route=self.entry.route,
            savings=saved_by_cache(self.entry.cost_micros),
            timing_ms=timing_ms,
            cache=CacheUse(status=status, layer=self.layer, age_s=round(self.age_s, 3)),
        )

    def to_events(self, *, coalesced: bool = False) -> list[NewEvent]:
        """Return the job's events between its start and its end: the hit, then the whole text."""
        answer, age_s = self.entry.answer, round(self.age_s, 3)
        saved_usd = to_usd(self.entry.cost_micros)
        return [
            cache_hit(self.layer, age_s, saved_usd, coalesced=coalesced),
            answer_delta(", ".join(answer.agents), answer.text),
        ]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def to_entry(spec: JobSpec, status: JobStatus, outcome: Outcome, version: str) -> Entry | None:
    """Return the entry for an ended job's answer, or None when it must not be kept.

    Kept are complete answers only: not failed, not cut off, not degraded, and from no model that
    stood in for another one.
    """
    answer = outcome.answer
    if status is not JobStatus.COMPLETED or answer is None or answer.finish_reason != _STOP:
        return None
    reports = [*outcome.agents, *([outcome.synthesis] if outcome.synthesis else [])]
    is_second_choice = any(report.error or report.fallback_from for report in reports)
    if outcome.degraded or is_second_choice or not answer.text:
        return None
    return Entry(
        answer=answer,
        route=outcome.route,
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
