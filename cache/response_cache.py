"""The response cache of one process: memory over Redis.

L1 is the process's memory. Below it, Redis holds the answers to requests without a conversation
for all processes (L3); an answer within a conversation is held by a second memory and, for as
long, by Redis, so that any process can continue the conversation (L2).

A failure of Redis is a miss and is counted, never an error. `aether:cache:<fingerprint>` holds one
encoded entry, with the TTL of its kind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from cache.entry import Entry, Hit, decode, encode
from cache.invalidation import Dependency, Invalidation
from cache.layers import FailSoftRedis, MemoryLayer, jittered_s
from core.timing import now_ms

if TYPE_CHECKING:
    from redis import Redis

    from core.jobs import CacheControl
    from core.outcome import CacheLayer

L1_SIZE: Final = 10_000
L1_TTL_S: Final = 300.0
L2_SIZE: Final = 5_000
L2_TTL_S: Final = 1_800.0


def _count_nothing(name: str, amount: int) -> None:
    """Stand in where nobody reads the counts."""


class ResponseCache:
    """One process's access to all kept answers; thread-safe.

    Args:
        redis: a client whose every wait is bounded by a few hundredths of a second.
        ttl_s: of answers without a conversation.
        count: adds an amount to a named counter: `cache.stored`, `cache.stored_bytes`,
            `cache.errors`. Hits and misses are counted by job, where a job ends.
    """

    def __init__(
        self, redis: Redis, *, ttl_s: float, count: Callable[[str, int], None] = _count_nothing
    ) -> None:
        self._redis = FailSoftRedis(redis, on_error=lambda: count("cache.errors", 1))
        self._ttl_s = ttl_s
        self._count = count
        self._memory = MemoryLayer(L1_SIZE, L1_TTL_S)
        self._session = MemoryLayer(L2_SIZE, L2_TTL_S)
        self._invalidation = Invalidation(
            self._redis, longest_ttl_s=max(ttl_s, L2_TTL_S), drop=self.drop_local
        )

    def get(
        self, fingerprint: str, control: CacheControl, *, is_session: bool = False
    ) -> Hit | None:
        """Return a kept answer that may be used; copy it to the layers above where it was.

        Args:
            is_session: the request belongs to a conversation.
        """
        for entry, layer in self._candidates(fingerprint, is_session=is_session):
            if self._may_serve(entry, control):
                if layer != "memory":
                    self._put_local(fingerprint, entry, is_session=is_session)
                return Hit(entry, layer, _age_s(entry))
        return None

    def put(
        self, fingerprint: str, entry: Entry, control: CacheControl, *, is_session: bool = False
    ) -> bytes | None:
        """Keep an answer in every layer of its kind and return it encoded.

        An answer that was purged while it was made is not kept: the result is None. An answer to
        a request with mode `refresh` replaces what other processes remember within a second.
        """
        if self._invalidation.is_purged(entry):
            return None
        longest_s = L2_TTL_S if is_session else self._ttl_s
        ttl_ms = int(jittered_s(min(longest_s, control.ttl_s or longest_s)) * 1000)
        entry = msgspec.structs.replace(entry, expires_ms=now_ms() + ttl_ms)
        self._put_local(fingerprint, entry, is_session=is_session)
        data = encode(entry)
        self._redis.call(lambda redis: redis.set(_key(fingerprint), data, px=ttl_ms))
        # After the set: a process that drops its copy now must find the new answer in Redis.
        if control.mode == "refresh":
            self._invalidation.publish_replaced(fingerprint)
        self._count("cache.stored", 1)
        self._count("cache.stored_bytes", len(data))
        return data

    def add_encoded(
        self, fingerprint: str, data: bytes, control: CacheControl, *, is_session: bool = False
    ) -> Hit | None:
        """Return the answer that `put` encoded in another process, if it may be used here.

        It is kept in this process's memory; Redis is not asked.
        """
        entry = decode(data)
        if entry is None or not self._may_serve(entry, control):
            return None
        self._put_local(fingerprint, entry, is_session=is_session)
        return Hit(entry, "session" if is_session else "redis", _age_s(entry))

    def drop_local(self, fingerprint: str) -> None:
        """Drop the answer from this process's memory; Redis and other processes keep it."""
        self._memory.drop(fingerprint)
        self._session.drop(fingerprint)

    def purge(self, kind: Dependency, value: str = "") -> bool:
        """Void every answer asked for so far that depends on the value, everywhere within 1 s.

        Returns:
            False when Redis did not take it: then only this process knows.
        """
        return self._invalidation.purge(kind, value)

    def _candidates(
        self, fingerprint: str, *, is_session: bool
    ) -> Iterator[tuple[Entry, CacheLayer]]:
        """Yield what the layers hold, from the top down; Redis is asked only when reached."""
        # First what was invalidated elsewhere: the memories below hold what they should drop.
        answers = self._invalidation.refresh()
        if entry := self._memory.get(fingerprint):
            yield entry, "memory"
        if is_session and (entry := self._session.get(fingerprint)):
            yield entry, "session"
        # A Redis that has just failed is not waited for a second time in one lookup.
        data = self._redis.call(lambda redis: redis.get(_key(fingerprint))) if answers else None
        if isinstance(data, bytes) and (entry := decode(data)):
            yield entry, "session" if is_session else "redis"

    def _may_serve(self, entry: Entry, control: CacheControl) -> bool:
        is_young = control.max_age_s is None or _age_s(entry) <= control.max_age_s
        is_alive = now_ms() < entry.expires_ms
        return is_young and is_alive and not self._invalidation.is_purged(entry)

    def _put_local(self, fingerprint: str, entry: Entry, *, is_session: bool) -> None:
        left_s = (entry.expires_ms - now_ms()) / 1000
        self._memory.put(fingerprint, entry, left_s)
        if is_session:
            self._session.put(fingerprint, entry, left_s)


def _key(fingerprint: str) -> str:
    return f"aether:cache:{fingerprint}"


def _age_s(entry: Entry) -> float:
    return max(0.0, time.time() - entry.asked_ms / 1000)
