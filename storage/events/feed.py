"""A job's events from a cursor on: what is kept, then what happens, without a gap or a repeat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.events import Event

if TYPE_CHECKING:
    from storage.events.hub import EventHub, Listener
    from storage.events.log import EventLog


class EventFeed:
    """Follows jobs for the readers of one process."""

    def __init__(self, hub: EventHub, log: EventLog) -> None:
        self._hub = hub
        self._log = log

    def follow(self, job_id: str, *, after: int, heartbeat_s: float) -> Iterator[Event | None]:
        """Yield the events numbered above `after`, in order, up to the terminal one.

        Ends early, after whatever it has yielded, when the process is about to end.

        Subscribes before it reads the log, so nothing falls between the two. None is a sign of life
        whenever `heartbeat_s` pass without an event.

        Raises:
            CoordinatorUnavailable: Redis is away; a reader comes back with its last number.
        """
        with self._hub.listen(job_id) as listener:
            last = after
            for event in self._log.read(job_id, after=last):
                last = event.sequence
                yield event
                if event.is_terminal:
                    return
            while not self._hub.is_draining:
                batch = self._next(listener, job_id, last, heartbeat_s)
                if not batch:
                    yield None
                for event in batch:
                    last = event.sequence
                    yield event
                    if event.is_terminal:
                        return

    def _next(self, listener: Listener, job_id: str, last: int, heartbeat_s: float) -> list[Event]:
        """Return what comes next within `heartbeat_s`: one event heard, or all missed ones."""
        give_up_at = time.monotonic() + heartbeat_s
        while (left_s := give_up_at - time.monotonic()) > 0 and not self._hub.is_draining:
            event = listener.next(left_s)
            if listener.take_gap() or (event is not None and event.sequence > last + 1):
                missed = self._log.read(job_id, after=last)
                if missed:
                    return missed
            elif event is not None and event.sequence == last + 1:
                return [event]
        # Pub/sub may have lost the very last message, after which nothing would show the gap.
        return self._log.read(job_id, after=last)
