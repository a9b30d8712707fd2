"""A job's events after a cursor: the kept ones, then the live ones, without a gap or a repeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from core.events import Event

if TYPE_CHECKING:
    from storage.events.hub import EventHub
    from storage.events.log import EventLog
    from storage.events.subscribers import Listener

#: How often a waiter looks at the job: pub/sub may lose the message that ends it.
_LOOK_S: Final = 1.0


class EventFeed:
    """Follows jobs for the readers of one process."""

    def __init__(self, hub: EventHub, log: EventLog) -> None:
        self._hub = hub
        self._log = log

    def follow(self, job_id: str, *, after: int, heartbeat_s: float) -> Iterator[Event | None]:
        """Yield the events numbered above `after`, in order, up to the terminal one.

        It ends early when the process is about to end. It subscribes before it reads the log, so no
        event falls between the two. It yields None whenever `heartbeat_s` pass without an event.

        Raises:
            CoordinatorUnavailable: Redis is away; the reader resumes by its last number.
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

    def wait_for_end(self, job_id: str, has_ended: Callable[[], bool], timeout_s: float) -> None:
        """Return at the job's end or after `timeout_s`; no event is read or decoded.

        It returns early when the process is about to end.

        Args:
            has_ended: looks at the job; asked at first, and whenever a message may have been lost.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        give_up_at = time.monotonic() + timeout_s
        with self._hub.listen_for_end(job_id) as listener:
            # Subscribed first, so that no end falls between the look and the wait.
            while not has_ended() and not self._hub.is_draining:
                left_s = give_up_at - time.monotonic()
                if left_s <= 0 or listener.wait(min(left_s, _LOOK_S)):
                    return

    def _next(self, listener: Listener, job_id: str, last: int, heartbeat_s: float) -> list[Event]:
        """Return the next event, or all missed ones; none when `heartbeat_s` pass without any."""
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
