"""Answers for a second use: looked up through the layers, kept in all of them, voided everywhere.

L1 is the process's memory. Behind it, answers to requests without a conversation lie in Redis for
all processes (L3); those within a conversation in a second memory and, for as long, in Redis, so
that any process may go on with the conversation (L2).

Redis trouble is a miss and a count, never an error.

| Key | Type | Lives |
|---|---|---|
| aether:cache:<name> | string, one entry | the TTL of its kind |
| aether:cache:voided | hash: what was purged, and when (ms) | longest TTL after the last purge |
| aether:cache:stats:<yyyymmdd> | hash of counts | 8 d |
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from cache.entry import Entry, decode, encode
from cache.layers import MemoryLayer, PatientRedis, jittered_s

if TYPE_CHECKING:
    from redis import Redis

    from core.job import CacheLayer
    from core.options import CacheControl

L1_SIZE: Final = 10_000
L1_TTL_S: Final = 300.0
L2_SIZE: Final = 5_000
L2_TTL_S: Final = 1_800.0

_VOIDED: Final = "aether:cache:voided"
_STATS_TTL_S: Final = 8 * 24 * 3600
#: How old the knowledge of purges, and counts nobody else knows of, may get.
_REFRESH_S: Final = 0.5

Dependency = Literal["all", "user", "model", "version"]


class Hit(Struct, frozen=True):
    """A kept answer, where it was found, and how old it is in seconds."""

    entry: Entry
    layer: CacheLayer
    age_s: float


class ResponseCache:
    """One process's way to all kept answers; safe to share between its threads."""

    def __init__(self, redis: Redis, *, ttl_s: float) -> None:
        self._redis = PatientRedis(redis)
        self._ttl_s = ttl_s
        self._memory = MemoryLayer(L1_SIZE, L1_TTL_S)
        self._session = MemoryLayer(L2_SIZE, L2_TTL_S)
        self._lock = threading.Lock()
        self._voided: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._refresh_at = 0.0

    def look(self, name: str, control: CacheControl, *, is_session: bool = False) -> Hit | None:
        """Return a kept answer that may be used, and bring it to the layers above where it lay."""
        self._refresh_if_due()
        entry, layer = self._find(name, is_session=is_session)
        age_s = 0.0 if entry is None else max(0.0, time.time() - entry.asked_ms / 1000)
        is_too_old = control.max_age_s is not None and age_s > control.max_age_s
        if entry is None or layer is None or is_too_old or self._is_voided(entry):
            self._count("misses")
            return None
        if layer != "memory":
            left_s = (L2_TTL_S if is_session else self._ttl_s) - age_s
            self._remember(name, entry, max(1.0, left_s), is_session=is_session)
        self._count(f"hits:{layer}")
        self._count("saved_micros", entry.cost_micros)
        return Hit(entry, layer, age_s)

    def keep(
        self, name: str, entry: Entry, control: CacheControl, *, is_session: bool = False
    ) -> None:
        """Keep an answer in every layer of its kind; one that was purged meanwhile is not kept."""
        self._refresh_if_due()
        if self._is_voided(entry):
            return
        longest_s = L2_TTL_S if is_session else self._ttl_s
        ttl_s = min(longest_s, control.ttl_s if control.ttl_s is not None else longest_s)
        self._remember(name, entry, ttl_s, is_session=is_session)
        data = encode(entry)
        with self._redis.tried() as redis:
            if redis is not None:
                redis.set(_key(name), data, px=max(1, int(jittered_s(ttl_s) * 1000)))
        self._count("stores")
        self._count("stored_bytes", len(data))

    def purge(self, kind: Dependency, value: str = "") -> bool:
        """Void every answer kept so far that depends on the value, in all processes within 1 s.

        Returns:
            False when Redis did not take it: then only this process knows.
        """
        field, now_ms = f"{kind}:{value}", int(time.time() * 1000)
        with self._lock:
            self._voided[field] = now_ms
        with self._redis.tried() as redis:
            if redis is not None:
                redis.hset(_VOIDED, field, now_ms)
                redis.expire(_VOIDED, int(max(self._ttl_s, L2_TTL_S)) + 60)
                return True
        return False

    def stats(self) -> dict[str, int]:
        """Return today's counts of all processes (UTC), and this process's own unsaved ones."""
        self._refresh_at = 0.0
        self._refresh_if_due()
        with self._redis.tried() as redis:
            if redis is not None:
                found = redis.hgetall(_stats_key())
                return {name.decode(): int(count) for name, count in found.items()}  # type: ignore[union-attr]
        return {}

    def _find(self, name: str, *, is_session: bool) -> tuple[Entry | None, CacheLayer | None]:
        if entry := self._memory.get(name):
            return entry, "memory"
        if is_session and (entry := self._session.get(name)):
            return entry, "session"
        with self._redis.tried() as redis:
            data = redis.get(_key(name)) if redis is not None else None
            if isinstance(data, bytes) and (entry := decode(data)):
                return entry, "session" if is_session else "redis"
        return None, None

    def _remember(self, name: str, entry: Entry, ttl_s: float, *, is_session: bool) -> None:
        self._memory.put(name, entry, ttl_s)
        if is_session:
            self._session.put(name, entry, ttl_s)

    def _is_voided(self, entry: Entry) -> bool:
        with self._lock:
            if not self._voided:
                return False
            fields = ["all:", f"user:{entry.user_id}", f"version:{entry.version}"]
            fields += [f"model:{model}" for model in entry.models]
            return any(entry.asked_ms <= self._voided.get(field, -1) for field in fields)

    def _count(self, name: str, amount: int = 1) -> None:
        with self._lock:
            self._counts[name] += amount

    def _refresh_if_due(self) -> None:
        """Tell Redis what was counted and learn what was purged, twice a second at most."""
        with self._lock:
            now = time.monotonic()
            if now < self._refresh_at:
                return
            self._refresh_at = now + _REFRESH_S
            counts, self._counts = self._counts, Counter()
            counts["errors"] += self._redis.errors
            self._redis.errors = 0
        with self._redis.tried() as redis:
            if redis is not None:
                self._exchange(redis, counts)
                return
        with self._lock:
            self._counts.update(counts)

    def _exchange(self, redis: Redis, counts: Counter[str]) -> None:
        with redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(_VOIDED)
            for name, count in counts.items():
                if count:
                    pipe.hincrby(_stats_key(), name, count)
            pipe.expire(_stats_key(), _STATS_TTL_S)
            found = pipe.execute()[0]
        with self._lock:
            # What this process purged while Redis was away stays purged here.
            self._voided |= {field.decode(): int(at_ms) for field, at_ms in found.items()}


def _key(name: str) -> str:
    return f"aether:cache:{name}"


def _stats_key() -> str:
    return f"aether:cache:stats:{datetime.now(UTC):%Y%m%d}"
