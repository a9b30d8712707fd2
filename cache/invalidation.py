"""Which kept answers serve no longer: purged ones, and ones that another process replaced.

| Key | Type | Kept for |
|---|---|---|
| aether:cache:purges | sorted set: what was purged (`user:<id>`), by when (ms) | an answer's TTL |
| aether:cache:replaced | stream of fingerprints whose answer was replaced | the latest 10,000 |
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from core.timing import now_ms

if TYPE_CHECKING:
    from redis import Redis

    from cache.entry import Entry
    from cache.layers import FailSoftRedis

Dependency = Literal["all", "user", "model", "version"]

_PURGES: Final = "aether:cache:purges"
_REPLACED: Final = "aether:cache:replaced"
_REPLACED_KEPT: Final = 10_000
_READ_AT_ONCE: Final = 1_000
#: How old this process's knowledge of other processes' invalidations may be.
_INTERVAL_S: Final = 0.5
#: A purge outlives the answers of jobs that ran when it was made: longer than a job may take.
_LONGEST_JOB_S: Final = 300.0


class Invalidation:
    """One process's view of all invalidations; thread-safe.

    Args:
        longest_ttl_s: the longest that any answer is kept.
        drop: called with each fingerprint whose answer another process replaced.
    """

    def __init__(
        self,
        redis: FailSoftRedis,
        *,
        longest_ttl_s: float,
        drop: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._horizon_ms = int((longest_ttl_s + _LONGEST_JOB_S) * 1000)
        self._drop = drop
        self._lock = threading.Lock()
        self._purged: dict[str, int] = {}
        self._last_replaced_id = "0"
        self._due_at = 0.0

    def is_purged(self, entry: Entry) -> bool:
        """Say whether something that the entry depends on was purged after its job's submission."""
        with self._lock:
            if not self._purged:
                return False
            members = ["all:", f"user:{entry.user_id}", f"version:{entry.version}"]
            members += [f"model:{model}" for model in entry.models]
            return any(entry.asked_ms <= self._purged.get(member, -1) for member in members)

    def purge(self, kind: Dependency, value: str) -> bool:
        """Void what depends on the value, here at once and elsewhere within a second.

        Returns:
            False when Redis did not take it: then only this process knows.
        """
        member, at_ms = f"{kind}:{value}", now_ms()
        self._note(member, at_ms)

        def publish(redis: Redis) -> bool:
            with redis.pipeline(transaction=False) as pipe:
                pipe.zadd(_PURGES, {member: at_ms}, gt=True)
                pipe.zremrangebyscore(_PURGES, "-inf", at_ms - self._horizon_ms)
                pipe.execute()
            return True

        return self._redis.call(publish) is True

    def publish_replaced(self, fingerprint: str) -> None:
        """Make every process drop what its memory holds under the fingerprint."""
        self._redis.call(
            lambda redis: redis.xadd(
                _REPLACED, {"n": fingerprint}, maxlen=_REPLACED_KEPT, approximate=True
            )
        )

    def refresh(self) -> bool:
        """Read what other processes invalidated, at most twice a second.

        Returns:
            False when Redis did not answer.
        """
        with self._lock:
            if self._clock() < self._due_at:
                return True
            self._due_at = self._clock() + _INTERVAL_S
        found = self._redis.call(self._read)
        if found is None:
            return False
        purges, replaced = found
        for member, at_ms in purges:
            self._note(member.decode(), int(at_ms))
        for entry_id, fields in replaced:
            self._drop(fields[b"n"].decode())
            self._last_replaced_id = entry_id.decode()
        return True

    def _read(self, redis: Redis) -> tuple[Any, Any]:
        with redis.pipeline(transaction=False) as pipe:
            pipe.zrange(_PURGES, 0, -1, withscores=True)
            pipe.xrange(_REPLACED, f"({self._last_replaced_id}", "+", _READ_AT_ONCE)
            purges, replaced = pipe.execute()
        return purges, replaced

    def _note(self, member: str, at_ms: int) -> None:
        # The later time counts: this process may have purged while Redis was away.
        with self._lock:
            self._purged[member] = max(at_ms, self._purged.get(member, 0))
