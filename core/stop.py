"""Asking one running job to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class StopReason(StrEnum):
    """Why a running call has to end early."""

    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    #: Another attempt holds the job; nothing this one does counts any more.
    LOST = "lost"


class StopSignal:
    """Asks one running job to stop, from any thread; the first reason stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = threading.Event()
        self._reason: StopReason | None = None
        self._close: Callable[[], None] | None = None

    @property
    def reason(self) -> StopReason | None:
        return self._reason

    def stop(self, reason: StopReason) -> None:
        """Set the reason and wake the call that waits in `closing_with`; a repeat does nothing."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            self._is_set.set()
            close = self._close
        if close is not None:
            close()

    def wait(self, timeout_s: float) -> None:
        """Return after `timeout_s`, or at once when the signal comes."""
        self._is_set.wait(timeout_s)

    @contextmanager
    def closing_with(self, close: Callable[[], None]) -> Iterator[None]:
        """Have `close` called, from another thread, if the signal comes while the block runs.

        `close` must be safe to call at any moment and has to make a blocked read return. It is
        called at once when the signal came before.
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
