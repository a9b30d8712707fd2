"""The signal that stops a running job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class StopReason(StrEnum):
    """Why a running job must stop."""

    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    #: No budget covers more of the answer.
    BUDGET = "budget"
    #: Another attempt has claimed the job; Redis refuses whatever this one still writes.
    LOST = "lost"


class StopSignal:
    """Stops one running job, from any thread; the first reason stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = threading.Event()
        self._reason: StopReason | None = None
        self._close: Callable[[], None] | None = None

    @property
    def reason(self) -> StopReason | None:
        return self._reason

    def stop(self, reason: StopReason) -> None:
        """Set the reason and call the `close` of `closing_with`; a repeat does nothing."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            self._is_set.set()
            close = self._close
        # Outside of the lock: closing may block, and the reader it wakes takes the lock.
        if close is not None:
            close()

    def wait(self, timeout_s: float) -> None:
        """Block for `timeout_s`, or until the signal is set."""
        self._is_set.wait(timeout_s)

    @contextmanager
    def closing_with(self, close: Callable[[], None]) -> Iterator[None]:
        """Call `close` if the signal is set while the block runs, or was set before it.

        The call comes from the thread that sets the signal. `close` must be safe at any moment and
        must make a read that the block is waiting in return.
        """
        with self._lock:
            self._close = close
            stopped = self._reason is not None
        if stopped:
            close()
        try:
            yield
        finally:
            with self._lock:
                self._close = None
