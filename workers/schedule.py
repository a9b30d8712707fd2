"""The scheduler of `celery beat`: RedBeat's, which outlives a Redis that refuses."""

from __future__ import annotations

from typing import Any, Final

import structlog
from redbeat import RedBeatScheduler
from redis.exceptions import LockNotOwnedError, ResponseError

from storage.failures import refusal_of

logger = structlog.get_logger(__name__)

_PAUSE_S: Final = 1.0


class GuardedScheduler(RedBeatScheduler):  # type: ignore[misc]
    """Goes on with its schedule when Redis takes writes again.

    RedBeat 2.4.2 lets a refusal end the process. A supervisor may give up on a program that ends
    again and again, and so on everything periodic.
    """

    #: Redis may have lost the entries along with the lock: they are written before the next tick.
    _is_incomplete = False

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due and return how many seconds to wait."""
        try:
            return self._tick(*args, **kwargs)
        except ResponseError as error:
            kind = refusal_of(error)
            if kind is None:
                raise
            logger.warning("Redis refuses; the schedule goes on when it does not", kind=kind)
            return _PAUSE_S

    def _tick(self, *args: Any, **kwargs: Any) -> float:
        if self._is_incomplete:
            self.setup_schedule()
            self._is_incomplete = False
        try:
            return float(super().tick(*args, **kwargs))
        except LockNotOwnedError:
            # Redis was wiped, or refused to extend the lock; another beat may have it now.
            if not self.lock.acquire(blocking=False):
                raise
            logger.warning("the lock of the schedule was taken again")
            self._is_incomplete = True
            return _PAUSE_S
