"""The numbered events of a job: their types, and one constructor for each type.

An event travels as one JSON object, built once where it happens and passed on as bytes:
`{"sequence": 7, "type": "answer.delta", "job_id": "…", "at": "…", "data": {…}}`. The keys of `data`
depend on the type alone; what does not apply is null. docs/api.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from core.money import to_usd
from core.outcome import AgentReport, Outcome, Route, public_usage

JOB_QUEUED: Final = "job.queued"
JOB_STARTED: Final = "job.started"
JOB_RETRYING: Final = "job.retrying"
CACHE_HIT: Final = "cache.hit"
ROUTE_SELECTED: Final = "route.selected"
AGENT_STARTED: Final = "agent.started"
AGENT_DELTA: Final = "agent.delta"
AGENT_COMPLETED: Final = "agent.completed"
AGENT_FAILED: Final = "agent.failed"
SYNTHESIS_STARTED: Final = "synthesis.started"
ANSWER_DELTA: Final = "answer.delta"
JOB_COMPLETED: Final = "job.completed"
JOB_FAILED: Final = "job.failed"
JOB_CANCELLED: Final = "job.cancelled"
JOB_INCOMPLETE: Final = "job.incomplete"
#: Stands in for a log that is no longer kept; carries the whole job.
JOB_SNAPSHOT: Final = "job.snapshot"
JOB_POSITION: Final = "job.position"

#: Every type that a log can hold.
EVENT_TYPES: Final = frozenset(
    {
        JOB_QUEUED,
        JOB_STARTED,
        JOB_RETRYING,
        CACHE_HIT,
        ROUTE_SELECTED,
        AGENT_STARTED,
        AGENT_DELTA,
        AGENT_COMPLETED,
        AGENT_FAILED,
        SYNTHESIS_STARTED,
        ANSWER_DELTA,
        JOB_COMPLETED,
        JOB_FAILED,
        JOB_CANCELLED,
        JOB_INCOMPLETE,
    }
)
TERMINAL_TYPES: Final = frozenset({JOB_COMPLETED, JOB_FAILED, JOB_CANCELLED, JOB_INCOMPLETE})


class NewEvent(Struct, frozen=True):
    """An event without a number; the job's log numbers it."""

    type: str
    data: dict[str, Any]


class Event(Struct, frozen=True, kw_only=True):
    """A numbered event; `body` is its complete JSON object."""

    sequence: int
    type: str
    body: bytes

    @property
    def is_terminal(self) -> bool:
        return self.type in TERMINAL_TYPES


def job_queued(mode: str, *, restored: bool = False) -> NewEvent:
    """The job is accepted; `restored` when Redis lost it and its record brought it back."""
    return NewEvent(JOB_QUEUED, {"mode": mode, "restored": restored})


def job_started(attempt: int) -> NewEvent:
    """A worker begins an attempt."""
    return NewEvent(JOB_STARTED, {"attempt": attempt})


def job_retrying(
    reason: str,
    attempt: int,
    *,
    agent: str | None = None,
    round_number: int | None = None,
    retry_after_s: float | None = None,
) -> NewEvent:
    """Void the text so far of one agent, or of the whole job where `agent` is None."""
    return NewEvent(
        JOB_RETRYING,
        {
            "reason": reason,
            "attempt": attempt,
            "agent": agent,
            "round": round_number,
            "retry_after_s": retry_after_s,
        },
    )


def cache_hit(
    layer: str | None, age_s: float | None, saved_usd: float, *, coalesced: bool = False
) -> NewEvent:
    """A kept answer, or (`coalesced`) the answer of another job, answers this one."""
    return NewEvent(
        CACHE_HIT,
        {"layer": layer, "age_s": age_s, "saved_usd": saved_usd, "coalesced": coalesced},
    )


def route_selected(
    agent: str, route: Route, *, round_number: int = 1, fallback_from: str | None = None
) -> NewEvent:
    """An agent is asked with this tier and model; a fallback names the model that it replaces."""
    return NewEvent(
        ROUTE_SELECTED,
        {
            "agent": agent,
            "round": round_number,
            "tier": route.tier,
            "model": route.model,
            "reason": route.reason,
            "score": route.score,
            "fallback_from": fallback_from,
        },
    )


def agent_started(agent: str, model: str, attempt: int, *, round_number: int = 1) -> NewEvent:
    """An agent's turn begins."""
    return NewEvent(
        AGENT_STARTED,
        {"agent": agent, "round": round_number, "model": model, "attempt": attempt},
    )


def agent_delta(agent: str, text: str, *, round_number: int = 1) -> NewEvent:
    """The next piece of a reply that is not the job's answer: its agent is one of several."""
    return NewEvent(AGENT_DELTA, {"agent": agent, "round": round_number, "text": text})


def agent_ended(report: AgentReport, *, round_number: int = 1) -> NewEvent:
    """An agent's turn is over: `agent.completed` with a whole or cut reply, or `agent.failed`."""
    is_good = report.status in ("completed", "incomplete")
    return NewEvent(
        AGENT_COMPLETED if is_good else AGENT_FAILED,
        {
            "agent": report.name,
            "round": round_number,
            "status": report.status,
            "usage": public_usage(report.usage),
            "cost_usd": to_usd(report.cost_micros),
            "timing_ms": report.timing_ms,
            "error": report.error,
        },
    )


def synthesis_started(model: str, contributors: Iterable[str], attempt: int) -> NewEvent:
    """The replies of these agents are being made into one answer."""
    return NewEvent(
        SYNTHESIS_STARTED,
        {"model": model, "contributors": list(contributors), "attempt": attempt},
    )


def answer_delta(agent: str, text: str) -> NewEvent:
    """The next piece of the job's answer, by `agent` (several: joined by commas)."""
    return NewEvent(ANSWER_DELTA, {"agent": agent, "text": text})


def job_ended(type_: str, status: str, outcome: Outcome) -> NewEvent:
    """The terminal event; the script that ends the job adds `usage` and `cost_usd`."""
    return NewEvent(
        type_,
        {
            "status": status,
            "finish_reason": outcome.answer.finish_reason if outcome.answer else None,
            "degraded": outcome.degraded,
            "timing_ms": outcome.timing_ms or None,
            "error": outcome.error,
        },
    )


def answer_text(log: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the answer that the events add up to.

    Text before a `job.retrying` of the whole job, or of the agent that wrote it, is void.

    Args:
        log: type and data of each event, in order.
    """
    pieces: list[tuple[str, str]] = []
    for type_, data in log:
        if type_ == ANSWER_DELTA:
            pieces.append((data["agent"], data["text"]))
        elif type_ == JOB_RETRYING:
            voided = data.get("agent")
            pieces = [piece for piece in pieces if voided is not None and piece[0] != voided]
    return "".join(text for _, text in pieces)
