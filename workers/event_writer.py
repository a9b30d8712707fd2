"""Writes the events of running jobs: the first text at once, the rest in shared batches."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Final

import structlog

from core.errors import CoordinatorUnavailable
from core.events import NewEvent
from core.stop import StopSignal
from storage.jobs.attempts import NO_EVENTS, Attempts, Batch, Claim
from workers.leases import obey

logger = structlog.get_logger(__name__)

#: How long text is gathered before it is written, in seconds.
FLUSH_INTERVAL_S: Final = 0.04
#: How long a batch that Redis did not take waits, in seconds.
RETRY_S: Final = 0.5
#: Text that is written without waiting for the interval, in characters.
FLUSH_CHARS: Final = 256


class EventWriter:
    """One thread that writes what the running jobs have to tell, in one round trip for all."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._dirty: set[JobEvents] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def open(self, claim: Claim, stop: StopSignal, delta: NewEvent) -> JobEvents:
        """Return the pen for one attempt; `stop` is told what the log answers.

        Args:
            delta: what text is told as, its data without the text.
        """
        return JobEvents(self, claim, stop, delta)

    def mark_dirty(self, events: JobEvents) -> None:
        with self._lock:
            self._dirty.add(events)
        self._wake.set()

    def write(self, batch: list[JobEvents]) -> bool:
        """Write what the given jobs have pending; their locks must be held.

        What Redis did not take stays pending and is tried again with the next batch.

        Returns:
            False when Redis did not take it.
        """
        pending = [(events.claim, events.next_batch()) for events in batch]
        try:
            answers = self._attempts.append(pending)
        except CoordinatorUnavailable:
            logger.warning("events not written; they wait", jobs=len(batch))
            for events in batch:
                self.mark_dirty(events)
            return False
        for events, answer in zip(batch, answers, strict=True):
            events.has_arrived()
            if events.has_pending:
                self.mark_dirty(events)
            obey(answer, events.stop)
        return True

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(FLUSH_INTERVAL_S)
            self._wake.clear()
            with self._lock:
                batch, self._dirty = list(self._dirty), set()
            with ExitStack() as held:
                for events in batch:
                    held.enter_context(events.lock)
                pending = [events for events in batch if events.has_pending]
                is_written = not pending or self.write(pending)
            if not is_written:
                time.sleep(RETRY_S)


class JobEvents:
    """What one attempt has to tell; its order is kept, text is merged.

    The lock is held while a batch is on its way, so nothing can overtake it.
    """

    def __init__(
        self, writer: EventWriter, claim: Claim, stop: StopSignal, delta: NewEvent
    ) -> None:
        self.claim = claim
        self.stop = stop
        self.lock = threading.Lock()
        self._writer = writer
        self._delta = delta
        self._in_flight = NO_EVENTS
        self._batches = 0
        self._events: list[NewEvent] = []
        self._text: list[str] = []
        self._has_written_text = False

    @property
    def has_pending(self) -> bool:
        return bool(self._in_flight.events or self._events or self._text)

    def tell(self, event: NewEvent) -> None:
        """Have an event written with the next batch."""
        with self.lock:
            self._fold_text()
            self._events.append(event)
        self._writer.mark_dirty(self)

    def add_text(self, text: str) -> None:
        """Have text written: the first at once, more with the next batch or when it is long."""
        with self.lock:
            self._text.append(text)
            if self._has_written_text and sum(map(len, self._text)) < FLUSH_CHARS:
                self._writer.mark_dirty(self)
                return
            self._has_written_text = True
            self._writer.write([self])

    def take(self) -> tuple[Batch, list[NewEvent]]:
        """Return what was sent without an answer and what was not sent; write nothing more."""
        with self.lock:
            self._fold_text()
            unsure, left = self._in_flight, self._events
            self._in_flight, self._events = NO_EVENTS, []
            return unsure, left

    def next_batch(self) -> Batch:
        """Return what is to be sent: the batch that got no answer as it was, else all there is."""
        if not self._in_flight.events:
            self._fold_text()
            self._batches += 1
            self._in_flight, self._events = Batch(self._events, self._batches), []
        return self._in_flight

    def has_arrived(self) -> None:
        """Let go of the batch that was sent."""
        self._in_flight = NO_EVENTS

    def _fold_text(self) -> None:
        if self._text:
            data = self._delta.data | {"text": "".join(self._text)}
            self._events.append(NewEvent(self._delta.type, data))
            self._text = []
