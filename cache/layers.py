"""The two places of kept answers: each process's memory, and a Redis that may fail."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from cachetools import TLRUCache
from msgspec import Struct
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis import Redis

    from cache.entry import Entry

logger = structlog.get_logger(__name__)

#: TTL jitter: entries written together do not expire together.
_JITTER: Final = 0.1
#: Commands that fail in a row before Redis is left alone; one slow answer is no outage.
_FAILURES: Final = 3
#: How long Redis is then left alone, in seconds.
_PAUSE_S: Final = 1.0

T = TypeVar("T")


class _Kept(Struct, frozen=True):
    entry: Entry
    ttl_s: float


def jittered_s(ttl_s: float) -> float:
    """Return a TTL that is up to a tenth shorter, never longer."""
    return ttl_s * random.uniform(1 - _JITTER, 1)  # noqa: S311 - spreads load, keeps no secret


class MemoryLayer:
    """The answers used last in this process (LRU, with a TTL each); thread-safe.

    Args:
        size: entries kept at most.
        ttl_s: the longest TTL; `put` may ask for a shorter one.
    """

    def __init__(
        self, size: int, ttl_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ttl_s = ttl_s
        self._lock = threading.Lock()
        self._kept: TLRUCache[str, _Kept] = TLRUCache(
            size, ttu=lambda _, kept, now: now + kept.ttl_s, timer=clock
        )

    def get(self, fingerprint: str) -> Entry | None:
        with self._lock:
            kept: _Kept | None = self._kept.get(fingerprint)
        return None if kept is None else kept.entry

    def put(self, fingerprint: str, entry: Entry, ttl_s: float) -> None:
        with self._lock:
            self._kept[fingerprint] = _Kept(entry, min(ttl_s, jittered_s(self.ttl_s)))

    def drop(self, fingerprint: str) -> None:
        with self._lock:
            self._kept.pop(fingerprint, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)


class FailSoftRedis:
    """Redis whose failures are misses; after three in a row it is left alone for a second.

    Args:
        redis: a client whose every wait is bounded by a few hundredths of a second.
        on_error: called for each command that failed or timed out.
    """

    def __init__(
        self,
        redis: Redis,
        on_error: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._on_error = on_error
        self._clock = clock
        self._lock = threading.Lock()
        self._resume_at = 0.0
        self._failures = 0

    def call(self, command: Callable[[Redis], T]) -> T | None:
        """Return the command's answer; None when it failed, or while Redis is left alone."""
        if self._clock() < self._resume_at:
            return None
        try:
            answer = command(self._redis)
        except RedisError as error:
            self._on_error()
            self._pause_if_away(error)
            return None
        self._failures = 0
        return answer

    def _pause_if_away(self, error: RedisError) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < _FAILURES:
                return
            self._resume_at = self._clock() + _PAUSE_S
        logger.warning("cache does without Redis for a second", error=repr(error))
