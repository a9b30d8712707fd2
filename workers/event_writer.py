"""Writes the events of running jobs: the first text at once, the rest in shared batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import structlog

from agents.spending import Spending
from core.events import AGENT_DELTA, ANSWER_DELTA, NewEvent
from core.loops import Loop
from core.stop import StopReason, StopSignal
from storage.jobs.attempts import Attempts
from storage.jobs.claims import NO_EVENTS, Batch, Claim, Hold
from workers.leases import all_or_each, obey

logger = structlog.get_logger(__name__)

#: How long text is gathered before it is written, in seconds.
FLUSH_INTERVAL_S: Final = 0.04
#: How long the thread sleeps when there is nothing to write, in seconds.
_IDLE_S: Final = 1.0
#: Text that is written without waiting for the interval, in characters.
FLUSH_CHARS: Final = 256

_DELTAS: Final = frozenset({ANSWER_DELTA, AGENT_DELTA})


class EventWriter:
    """One thread that writes the pending events of all running jobs in one round trip."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._dirty: set[JobEvents] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.loop = Loop("event-writer", self._write_next)

    def open(self, claim: Claim, stop: StopSignal, spending: Spending) -> JobEvents:
        """Return an attempt's event queue; `stop` is set when the log says the attempt is over.

        Args:
            spending: told what more is held for text before it is written, or that nothing is.
        """
        return JobEvents(self, claim, stop, spending)

    def mark_dirty(self, events: JobEvents) -> None:
        """Have the job's pending events written with the next shared batch."""
        with self._lock:
            self._dirty.add(events)
        self._wake.set()

    def write(self, jobs: Sequence[JobEvents]) -> None:
        """Write what the given jobs have pending; the caller holds their locks.

        Raises:
            Exception: whatever the store raises; what it did not take stays pending, and its batch
                is sent again unchanged with the next one.
        """
        pending = [(events.claim, events.next_batch()) for events in jobs]
        try:
            answers = self._attempts.append(pending)
        except Exception:
            for events in jobs:
                self.mark_dirty(events)
            raise
        for events, answer in zip(jobs, answers, strict=True):
            events.batch_arrived(answer)
            if events.has_pending:
                self.mark_dirty(events)
            obey(answer, events.stop)

    def flush(self) -> None:
        """Write everything that is pending now, in one round trip; raises as `write` does.

        The locks of all jobs in the batch are held while it is on its way, so that neither a first
        text nor the end of a job can overtake events that were emitted before it.
        """
        with self._lock:
            dirty, self._dirty = list(self._dirty), set()
        with ExitStack() as held:
            for events in dirty:
                held.enter_context(events.lock)
            all_or_each(self.write, [events for events in dirty if events.has_pending])

    def _write_next(self) -> None:
        if not self._wake.wait(_IDLE_S):
            return
        time.sleep(FLUSH_INTERVAL_S)
        # Cleared before the set is taken: an event that comes in between wakes the next round.
        self._wake.clear()
        self.flush()


class JobEvents:
    """One attempt's events on their way to the log; order is kept, neighbouring text is merged."""

    def __init__(
        self, writer: EventWriter, claim: Claim, stop: StopSignal, spending: Spending
    ) -> None:
        self.claim = claim
        self.stop = stop
        self._spending = spending
        self.lock = threading.Lock()
        self._writer = writer
        self._in_flight = NO_EVENTS
        self._batches = 0
        self._events: list[NewEvent] = []
        self._delta: NewEvent | None = None
        self._text: list[str] = []
        self._chars = 0
        self._wrote_text = False

    @property
    def was_sent(self) -> bool:
        """Whether any event of the attempt may stand in the log."""
        return self._batches > 0

    @property
    def has_pending(self) -> bool:
        return bool(self._in_flight.events or self._events or self._text)

    def hold(self, event: NewEvent) -> None:
        """Write the event with whatever is emitted next."""
        with self.lock:
            self._fold_text()
            self._events.append(event)

    def emit(self, event: NewEvent) -> None:
        """Write the event with the next batch.

        The first text of the attempt is written at once, later text when `FLUSH_CHARS` have
        gathered or the interval is over.
        """
        with self.lock:
            if event.type not in _DELTAS:
                self._fold_text()
                self._events.append(event)
            elif self._add_text(event):
                self._write_now()
                return
        self._writer.mark_dirty(self)

    def _write_now(self) -> None:
        try:
            self._writer.write([self])
        except Exception as error:
            # The job goes on: the thread, or the job's end, sends them again.
            logger.warning("events not written; they are sent again", error=type(error).__name__)

    def drain(self) -> tuple[Batch, list[NewEvent]]:
        """Return the batch whose answer is missing and the events never sent; nothing is left.

        The script that ends or defers the job appends both, the batch only if it had not arrived.
        """
        with self.lock:
            self._fold_text()
            unsure, unsent = self._in_flight, self._events
            self._in_flight, self._events = NO_EVENTS, []
            return unsure, unsent

    def next_batch(self) -> Batch:
        """Return the batch to send: the unanswered one unchanged, else all that is pending."""
        if not self._in_flight.events:
            self._fold_text()
            self._batches += 1
            wanted = self._spending.wanted()
            self._in_flight, self._events = Batch(self._events, self._batches, wanted), []
        return self._in_flight

    def batch_arrived(self, answer: Hold) -> None:
        """Forget the batch that was sent, and stop a turn of which no more is covered."""
        wanted, self._in_flight = self._in_flight.wanted_micros, NO_EVENTS
        if answer is Hold.UNFUNDED:
            self._spending.was_refused()
        elif wanted is not None and answer is Hold.HELD:
            self._spending.was_held(wanted)
        if self._spending.is_out:
            self.stop.stop(StopReason.BUDGET)

    def _add_text(self, event: NewEvent) -> bool:
        """Gather a piece of text; True if it is to be written at once."""
        if self._delta is not None and not _continues(event, self._delta):
            self._fold_text()
        self._delta = event
        self._text.append(event.data["text"])
        self._chars += len(event.data["text"])
        if self._wrote_text and self._chars < FLUSH_CHARS:
            return False
        self._wrote_text = True
        return True

    def _fold_text(self) -> None:
        """Turn the gathered pieces into one event."""
        if self._delta is not None:
            data = self._delta.data | {"text": "".join(self._text)}
            self._events.append(NewEvent(self._delta.type, data))
            self._delta, self._text, self._chars = None, [], 0


def _continues(event: NewEvent, before: NewEvent) -> bool:
    return event.type == before.type and event.data["agent"] == before.data["agent"]
