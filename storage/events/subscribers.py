"""Who listens to one job: readers of its events, and waiters for its end."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from functools import cached_property
from typing import Final, Protocol

import structlog

from core.events import TERMINAL_TYPES, Event
from storage.events.log import EventLog

logger = structlog.get_logger(__name__)

#: Events one slow client may leave waiting; beyond it the client reads the log again.
_QUEUE_EVENTS: Final = 256


class Published:
    """A message as a job script published it: the events of one step, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @cached_property
    def events(self) -> list[Event] | None:
        """The events; None when they cannot be decoded."""
        try:
            return EventLog.parse_published(self._data)
        except ValueError:
            logger.warning("message cannot be decoded as events; its readers read the log")
            return None

    @property
    def ends_the_job(self) -> bool:
        """Whether the last event is a terminal one; decodes nothing else."""
        return EventLog.type_of_last(self._data) in TERMINAL_TYPES


class Subscriber(Protocol):
    """Whoever listens to one job."""

    is_confirmed: threading.Event

    def take(self, message: Published) -> None: ...

    def drop(self) -> None:
        """Wake the client, which then looks at what Redis keeps: messages may have been lost."""


class EndListener:
    """One client's subscription to the end of one job."""

    def __init__(self) -> None:
        self.is_confirmed = threading.Event()
        self._is_woken = threading.Event()
        self._has_ended = False

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end and say whether it came; False after `timeout_s` or a loss."""
        self._is_woken.wait(timeout_s)
        self._is_woken.clear()
        return self._has_ended

    def take(self, message: Published) -> None:
        if message.ends_the_job:
            self._has_ended = True
            self._is_woken.set()

    def drop(self) -> None:
        self._is_woken.set()


class Listener:
    """One client's subscription to the events of one job."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Event | None] = queue.Queue(_QUEUE_EVENTS)
        self.is_confirmed = threading.Event()
        self._has_gap = False

    def next(self, timeout_s: float) -> Event | None:
        """Return the next event, or None after `timeout_s` or when there is a gap."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def take_gap(self) -> bool:
        """Say whether events were missed since the last call; the log has them."""
        has_gap, self._has_gap = self._has_gap, False
        return has_gap

    def take(self, message: Published) -> None:
        """Add the message's events; a client that is too slow gets a gap instead."""
        if message.events is None:
            self.drop()
            return
        try:
            for event in message.events:
                self._queue.put_nowait(event)
        except queue.Full:
            self.drop()

    def drop(self) -> None:
        """Discard the waiting events and wake the client, which then reads the log."""
        self._has_gap = True
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            pass
        # Filled again meanwhile: then the client wakes by what is there.
        with suppress(queue.Full):
            self._queue.put_nowait(None)
