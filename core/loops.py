"""Background threads that nothing ends: one loop for every thread and periodic duty.

A loop repeats a step. Whatever the step raises is logged by its type, never its content, and the
step is repeated after a pause that grows with each failure; the loop can say when it last turned.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from msgspec import Struct

logger = structlog.get_logger(__name__)

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 2.0
#: A step that waits for a server takes no longer, or the loop counts as stuck.
_STUCK_AFTER_S: Final = 10.0


class LoopHealth(Struct, frozen=True):
    """How a loop does.

    Attributes:
        still_s: seconds since its last turn ended, or since its start; 0 before the start.
        failures: steps that failed since its last turn.
        is_stuck: it has not turned for so long that what depends on it does not happen.
    """

    name: str
    still_s: float
    failures: int
    is_stuck: bool


class Loop:
    """Repeats a step in a daemon thread of its own, whatever the step raises.

    Args:
        step: one turn; waits a second or two at most when there is nothing to do, or calls
            `mark_turn` as often.
        every_s: pause between two turns.
        stuck_after_s: how long it may go without a turn, besides `every_s`.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        *,
        every_s: float = 0.0,
        stuck_after_s: float = _STUCK_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._step = step
        self._every_s = every_s
        self._stuck_after_s = 2 * every_s + stuck_after_s
        self._clock = clock
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._turned_at: float | None = None
        self._failures = 0

    @property
    def is_over(self) -> bool:
        """Whether `stop` was called; a step that waits long looks at it."""
        return self._is_over.is_set()

    def start(self) -> None:
        """Begin; a repeat does nothing unless the thread is gone, as in a forked child."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self.mark_turn()
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the step that runs; wait for it for `timeout_s`."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def mark_turn(self) -> None:
        """Note that the loop does its work: every step's end does, and a long step in between."""
        self._turned_at = self._clock()
        self._failures = 0

    def turn(self) -> float:
        """Run the step once and return how many seconds to pause; never raises an Exception."""
        try:
            self._step()
        except Exception as error:
            self._failures += 1
            self._log(error)
            return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 8))
        if self._failures:
            logger.info("loop works again", loop=self.name, failures=self._failures)
        self.mark_turn()
        return self._every_s

    def health(self) -> LoopHealth:
        turned_at = self._turned_at
        still_s = 0.0 if turned_at is None else max(0.0, self._clock() - turned_at)
        return LoopHealth(self.name, still_s, self._failures, still_s > self._stuck_after_s)

    def _log(self, error: Exception) -> None:
        # The first failure, then ever fewer: a long outage does not fill the log.
        if self._failures & (self._failures - 1) == 0:
            cause = error.__cause__
            logger.warning(
                "loop's step failed; it is repeated",
                loop=self.name,
                failures=self._failures,
                error=type(error).__name__,
                cause=cause and type(cause).__name__,
            )

    def _run(self) -> None:
        while not self.is_over:
            self._is_over.wait(self.turn())
