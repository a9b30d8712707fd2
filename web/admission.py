"""How much of one process a user, and all users together, may hold open."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from core.errors import CoordinatorFull, CoordinatorUnavailable, TooManyWaiting
from core.limit_errors import TooManyStreams
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis

#: Connections that one process holds; beyond it idle ones are closed, and only probes are answered.
MAX_CONNECTIONS: Final = 4_000
#: Streams and waiting requests of one process together; the rest of the connections stays free.
_MAX_OPEN: Final = 3_500
_MAX_OPEN_OF_USER: Final = 64
#: Above this share of its `maxmemory` Redis takes no new jobs, so that running ones can end.
_FULL_SHARE: Final = 0.9
_LOOK_EVERY_S: Final = 2.0


class OpenRequests:
    """Counts the requests that stay open: event streams and waits for a job's end or news."""

    def __init__(self, *, of_user: int = _MAX_OPEN_OF_USER, in_all: int = _MAX_OPEN) -> None:
        self._of_user = of_user
        self._in_all = in_all
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def enter(self, user_id: str) -> Callable[[], None]:
        """Count one more and return what ends it; a repeat of that does nothing.

        Raises:
            TooManyStreams: the user holds as many as one process allows.
            TooManyWaiting: all users together do.
        """
        with self._lock:
            if self._open[user_id] >= self._of_user:
                raise TooManyStreams(
                    f"{self._of_user} streams and waiting requests of yours are open, which is all "
                    "that one process allows; close one."
                )
            if self._open.total() >= self._in_all:
                raise TooManyWaiting
            self._open[user_id] += 1
        left = threading.Event()

        def leave() -> None:
            with self._lock:
                if left.is_set():
                    return
                left.set()
                self._open[user_id] -= 1
                if not self._open[user_id]:
                    del self._open[user_id]

        return leave

    @contextmanager
    def held(self, user_id: str) -> Iterator[None]:
        """Count one more for the block; raises as `enter`."""
        leave = self.enter(user_id)
        try:
            yield
        finally:
            leave()


class CoordinatorMemory:
    """Refuses new jobs before Redis is full; looks every two seconds, when somebody asks."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._looked_at = float("-inf")
        self._is_full = False

    def require_room(self) -> None:
        """Refuse when Redis uses nine tenths of its memory.

        Raises:
            CoordinatorFull: new jobs have to wait.
        """
        if self._clock() - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = self._clock()
            self._is_full = self._look()
        if self._is_full:
            raise CoordinatorFull

    def _look(self) -> bool:
        try:
            with coordinator_errors():
                found: Any = self._redis.info("memory")
        except CoordinatorUnavailable:
            # The accept itself says so.
            return False
        most = found.get("maxmemory", 0)
        return bool(most) and found["used_memory"] > most * _FULL_SHARE
