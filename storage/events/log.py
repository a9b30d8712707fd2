"""Reads a job's log of events, the source of every stream and poll."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.events import Event
from storage import keys
from storage.event_rows import from_entries, from_lines
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis


class EventLog:
    """Reads events; the job scripts are the only writers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self, job_id: str, *, after: int, limit: int | None = None) -> list[Event]:
        """Return at most `limit` events numbered above `after`, oldest first; none without a log.

        Raises:
            CoordinatorUnavailable: Redis did not answer.
        """
        with coordinator_errors():
            rows: Any = self._redis.xrange(
                keys.events(job_id), min=f"{after + 1}-0", max="+", count=limit
            )
        return from_entries(rows)

    @staticmethod
    def channel(job_id: str) -> str:
        """Return the pub/sub channel that carries the job's events as they are appended."""
        return keys.events(job_id)

    @staticmethod
    def parse_published(message: bytes) -> list[Event]:
        """Read a message: each line is an event, `<sequence> <type> <body>`."""
        return from_lines(message)

    @staticmethod
    def type_of_last(message: bytes) -> str:
        """Return the type of a message's last event; an empty one when it cannot be told."""
        words = message[message.rfind(b"\n") + 1 :].split(b" ", 2)
        return words[1].decode(errors="replace") if len(words) == 3 else ""
