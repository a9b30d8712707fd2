"""What the processes tell one another of kept answers: purges, replacements, counts.

| Key | Type | Lives |
|---|---|---|
| aether:cache:purges | sorted set: what was purged, by when (ms) | as long as an answer may |
| aether:cache:replaced | stream of names whose answer was made anew | the latest 10,000 |
| aether:cache:stats:<yyyymmdd> | hash of counts | 8 d |
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from core.timing import now_ms

if TYPE_CHECKING:
    from redis import Redis

    from cache.entry import Entry
    from cache.layers import PatientRedis

Dependency = Literal["all", "user", "model", "version"]

_PURGES: Final = "aether:cache:purges"
_REPLACED: Final = "aether:cache:replaced"
_REPLACED_KEPT: Final = 10_000
_READ_AT_ONCE: Final = 1_000
_STATS_TTL_S: Final = 8 * 24 * 3600
#: How old the knowledge of the others, and counts they do not know of, may get in use.
_INTERVAL_S: Final = 0.5
#: Longer than from a job's submission to its end, which is when its answer is kept.
_LONGEST_JOB_S: Final = 300.0


class Fetched(Struct, frozen=True):
    """What a key held when it was asked for; None also when Redis did not answer."""

    data: bytes | None


class Bulletin:
    """One process's part in it; safe to share between threads.

    Args:
        longest_s: that any answer is kept.
        forget: called with each name whose answer another process made anew.
    """

    def __init__(
        self, redis: PatientRedis, *, longest_s: float, forget: Callable[[str], None]
    ) -> None:
        self._redis = redis
        self._horizon_ms = int((longest_s + _LONGEST_JOB_S) * 1000)
        self._forget = forget
        self._lock = threading.Lock()
        self._purged: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._replaced_until = "0"
        self._due_at = 0.0

    def count(self, name: str, amount: int = 1) -> None:
        with self._lock:
            self._counts[name] += amount

    def is_purged(self, entry: Entry) -> bool:
        """Say whether what the entry depends on was purged after its job was submitted."""
        with self._lock:
            if not self._purged:
                return False
            members = ["all:", f"user:{entry.user_id}", f"version:{entry.version}"]
            members += [f"model:{model}" for model in entry.models]
            return any(entry.asked_ms <= self._purged.get(member, -1) for member in members)

    def purge(self, kind: Dependency, value: str) -> bool:
        """Void what depends on the value here, and tell all; False if Redis did not take it."""
        member, at_ms = f"{kind}:{value}", now_ms()
        with self._lock:
            self._purged[member] = at_ms
        with self._redis.tried() as redis:
            if redis is not None:
                with redis.pipeline(transaction=False) as pipe:
                    pipe.zadd(_PURGES, {member: at_ms}, gt=True)
                    pipe.zremrangebyscore(_PURGES, "-inf", at_ms - self._horizon_ms)
                    pipe.execute()
                return True
        return False

    def tell_replaced(self, redis: Redis, name: str) -> None:
        """Have every process forget what it remembers under the name."""
        redis.xadd(_REPLACED, {"n": name}, maxlen=_REPLACED_KEPT, approximate=True)

    def read_if_due(self, also: str) -> Fetched | None:
        """Tell what was counted and learn what the others tell, twice a second at most.

        Args:
            also: a key to fetch in the same round trip, so that a lookup never takes two.

        Returns:
            None when it was not due, and nothing was fetched.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._due_at:
                return None
            self._due_at = now + _INTERVAL_S
            counts, self._counts = self._counts, Counter()
        with self._redis.tried() as redis:
            if redis is not None:
                return Fetched(self._exchange(redis, counts, also))
        with self._lock:
            self._counts.update(counts)
        return Fetched(None)

    def counts(self) -> dict[str, int]:
        """Return today's counts of all processes (UTC), this one's included; {} without Redis."""
        self._due_at = 0.0
        self.read_if_due(_PURGES + ":none")
        with self._redis.tried() as redis:
            if redis is not None:
                found = redis.hgetall(_stats_key())
                return {name.decode(): int(count) for name, count in found.items()}  # type: ignore[union-attr]
        return {}

    def _exchange(self, redis: Redis, counts: Counter[str], also: str) -> bytes | None:
        counts["errors"] += self._redis.take_errors()
        horizon_ms = now_ms() - self._horizon_ms
        with redis.pipeline(transaction=False) as pipe:
            pipe.get(also)
            pipe.zrangebyscore(_PURGES, horizon_ms, "+inf", withscores=True)
            pipe.xrange(_REPLACED, f"({self._replaced_until}", "+", _READ_AT_ONCE)
            for name, count in counts.items():
                if count:
                    pipe.hincrby(_stats_key(), name, count)
            pipe.expire(_stats_key(), _STATS_TTL_S)
            data, purges, replaced, *_ = pipe.execute()
        with self._lock:
            heard = {member.decode(): int(at_ms) for member, at_ms in purges}
            # What this process purged while Redis was away stays purged here.
            known = {member: at_ms for member, at_ms in self._purged.items() if at_ms > horizon_ms}
            self._purged = {m: max(heard.get(m, 0), known.get(m, 0)) for m in heard | known}
        for entry_id, fields in replaced:
            self._forget(fields[b"n"].decode())
            self._replaced_until = entry_id.decode()
        return data if isinstance(data, bytes) else None


def _stats_key() -> str:
    return f"aether:cache:stats:{datetime.now(UTC):%Y%m%d}"
