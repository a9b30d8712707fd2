"""Named counts of one day, of all processes together.

`aether:counters:<yyyymmdd>` (UTC) is a hash of counts by name, kept for 8 days.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from core.errors import CoordinatorUnavailable
from core.loops import Loop

if TYPE_CHECKING:
    from redis import Redis

    from core.outcome import Outcome

logger = structlog.get_logger(__name__)

_TTL_S: Final = 8 * 24 * 3600
_INTERVAL_S: Final = 0.5
_IDLE_S: Final = 1.0


class Counters:
    """Counts of this process, added to the day's counts in Redis twice a second; thread-safe.

    A thread of its own writes them; the first count starts it. What a process counted in its last
    half second is lost unless it calls `flush`.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()
        self._has_pending = threading.Event()
        self.loop = Loop("counters", self._flush_next, every_s=_INTERVAL_S)

    def count(self, name: str, amount: int = 1) -> None:
        """Add the amount to the counter; never waits for Redis."""
        with self._lock:
            self._pending[name] += amount
        self.loop.start()
        # After the count is in: set earlier, the thread might find nothing and wait again.
        self._has_pending.set()

    def count_cache_use(self, outcome: Outcome) -> None:
        """Count how the cache served a job that has ended.

        A job counts once, whatever lookups it took, as `cache.hit.<layer>`, `cache.coalesced` or
        `cache.miss`; one that bypassed the cache does not count. `cache.saved_micros` sums what
        hits saved.
        """
        use = outcome.cache
        if use.status == "bypass":
            return
        self.count(f"cache.{use.status}.{use.layer}" if use.layer else f"cache.{use.status}")
        if outcome.savings.cache_micros:
            self.count("cache.saved_micros", outcome.savings.cache_micros)

    def flush(self) -> None:
        """Add what was counted here to the day's counts; keep it for later when Redis fails."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
        if not pending:
            return
        key = _key(datetime.now(UTC).date())
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                for name, amount in pending.items():
                    pipe.hincrby(key, name, amount)
                pipe.expire(key, _TTL_S)
                pipe.execute()
        except Exception as error:
            # A command that timed out may have been applied: counts may err upwards, never vanish.
            with self._lock:
                self._pending.update(pending)
            self._has_pending.set()
            if not isinstance(error, RedisError):
                raise
            logger.warning("counts are kept until Redis takes them", error=repr(error))

    def read(self, day: date) -> dict[str, int]:
        """Return the day's counts of all processes, those flushed so far.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        try:
            found = self._redis.hgetall(_key(day))
        except RedisError as error:
            raise CoordinatorUnavailable from error
        return {name.decode(): int(amount) for name, amount in found.items()}  # type: ignore[union-attr]

    def _flush_next(self) -> None:
        # Without counts there is nothing to do.
        if self._has_pending.wait(_IDLE_S):
            self._has_pending.clear()
            self.flush()


def _key(day: date) -> str:
    return f"aether:counters:{day:%Y%m%d}"
