"""Reports how a worker's loops do, and ends a worker whose loops cannot be brought back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from core.errors import CoordinatorUnavailable
from core.loops import Loop
from storage.loop_reports import REPORT_EVERY_S, LoopReports

logger = structlog.get_logger(__name__)

#: A loop that has not turned for so long, while Redis answered, does not come back.
_HOPELESS_AFTER_S: Final = 60.0
#: How long running jobs have when the process ends itself; the sweeper has the others redone.
_WARM_END_S: Final = 30.0


def end_this_process() -> None:
    """Shut Celery down as an operator would, and leave for good when that takes too long."""
    os.kill(os.getpid(), signal.SIGTERM)
    leave = threading.Timer(_WARM_END_S, os._exit, (1,))
    leave.daemon = True
    leave.start()


class LoopWatch:
    """Watches the loops of one worker process, from a loop of its own.

    Args:
        end: ends the process, so that its supervisor starts another.
    """

    def __init__(
        self,
        reports: LoopReports,
        loops: Sequence[Loop],
        *,
        end: Callable[[], None] = end_this_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reports = reports
        self._loops = tuple(loops)
        self._end = end
        self._clock = clock
        self._answering_since: float | None = None
        self._is_ending = False
        self._worker = ""
        self.loop = Loop("loop-watch", self.look, every_s=REPORT_EVERY_S)

    def start_loops(self) -> None:
        for loop in self._loops:
            loop.start()

    def take_up(self, loops: Sequence[Loop]) -> None:
        """Start further loops and watch them with the others."""
        self._loops += tuple(loops)
        self.start_loops()

    def start(self, worker: str) -> None:
        """Begin to report under a worker's name, as in `worker-1@host`."""
        self._worker = worker
        self.loop.start()

    def look(self) -> None:
        """Report every loop's health; end the process when one is beyond help.

        Raises:
            CoordinatorUnavailable: Redis is away, which is reason enough for loops not to turn.
        """
        found = [loop.health() for loop in self._loops]
        try:
            self._reports.write(self._worker, found)
        except CoordinatorUnavailable:
            self._answering_since = None
            raise
        now = self._clock()
        if self._answering_since is None:
            self._answering_since = now
        # Loops have had Redis for no longer than this one.
        patience_used_s = now - self._answering_since
        hopeless = [
            health.name
            for health in found
            if health.is_stuck and min(health.still_s, patience_used_s) > _HOPELESS_AFTER_S
        ]
        if hopeless and not self._is_ending:
            self._is_ending = True
            logger.critical("loops do not come back; the worker ends", loops=hopeless)
            self._end()
