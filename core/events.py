"""The numbered entries of a job's log.

An event travels as one JSON object, built once where it happens and passed on as bytes:
`{"sequence": 7, "type": "answer.delta", "job_id": "…", "at": "…", "data": {…}}`.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

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
    """An event that has no number yet; the log gives it one."""

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
