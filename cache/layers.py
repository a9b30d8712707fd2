"""Where answers are kept: in the memory of each process, and in Redis for all of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from cachetools import TLRUCache
from msgspec import Struct
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis import Redis

    from cache.entry import Entry

logger = structlog.get_logger(__name__)

#: By so much lives differ, so that answers which came together do not go together.
_JITTER: Final = 0.1
#: So many commands in a row that Redis did not answer in time make a pause: one slow answer of a
#: busy machine is not Redis away.
_FAILURES: Final = 3
#: How long Redis is then left alone, in seconds.
_PAUSE_S: Final = 1.0


class _Kept(Struct, frozen=True):
    entry: Entry
    life_s: float


def jittered_s(ttl_s: float) -> float:
    """Return a life up to a tenth shorter, so that a promised TTL is never exceeded."""
    return ttl_s * random.uniform(1 - _JITTER, 1)  # noqa: S311 - spreads load, keeps no secret


class MemoryLayer:
    """The answers used last in this process; safe to share between its threads.

    Args:
        ttl_s: the longest that one is kept; a shorter life may be asked for.
    """

    def __init__(
        self, size: int, ttl_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ttl_s = ttl_s
        self._lock = threading.Lock()
        self._kept: TLRUCache[str, _Kept] = TLRUCache(
            size, ttu=lambda _, kept, now: now + kept.life_s, timer=clock
        )

    def get(self, name: str) -> Entry | None:
        with self._lock:
            kept: _Kept | None = self._kept.get(name)
        return None if kept is None else kept.entry

    def put(self, name: str, entry: Entry, ttl_s: float) -> None:
        with self._lock:
            self._kept[name] = _Kept(entry, min(ttl_s, jittered_s(self.ttl_s)))

    def drop(self, name: str) -> None:
        with self._lock:
            self._kept.pop(name, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)


class PatientRedis:
    """A Redis that may be away: what fails or takes too long is a miss, and soon it is left alone.

    Args:
        redis: a client whose every wait is bounded by a few hundredths of a second.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._resume_at = 0.0
        self._failures = 0
        self._errors = 0

    @contextmanager
    def tried(self) -> Iterator[Redis | None]:
        """Give the client to the block, or None while Redis is left alone; errors end the block."""
        if time.monotonic() < self._resume_at:
            yield None
            return
        try:
            yield self._redis
        except RedisError as error:
            self._note_failure(error)
        else:
            self._failures = 0

    def take_errors(self) -> int:
        """Return how many commands Redis did not answer since this was asked last."""
        with self._lock:
            errors, self._errors = self._errors, 0
            return errors

    def _note_failure(self, error: RedisError) -> None:
        with self._lock:
            self._errors += 1
            self._failures += 1
            if self._failures < _FAILURES:
                return
            self._resume_at = time.monotonic() + _PAUSE_S
        logger.warning("cache without Redis for a second", error=repr(error))
