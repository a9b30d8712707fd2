"""Answers for a second use: looked up through the layers, kept in all of them, voided everywhere.

L1 is the process's memory. Behind it, answers to requests without a conversation lie in Redis for
all processes (L3); those within a conversation in a second memory and, for as long, in Redis, so
that any process may go on with the conversation (L2).

Redis trouble is a miss and a count, never an error. `aether:cache:<name>` holds one entry, for the
TTL of its kind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from cache.entry import Entry, decode, encode
from cache.invalidation import Bulletin, Dependency, Fetched
from cache.layers import MemoryLayer, PatientRedis, jittered_s
from core.timing import now_ms

if TYPE_CHECKING:
    from redis import Redis

    from core.jobs import CacheControl
    from core.outcome import CacheLayer

L1_SIZE: Final = 10_000
L1_TTL_S: Final = 300.0
L2_SIZE: Final = 5_000
L2_TTL_S: Final = 1_800.0


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
        self._bulletin = Bulletin(self._redis, longest_s=max(ttl_s, L2_TTL_S), forget=self.forget)

    def look(
        self,
        name: str,
        control: CacheControl,
        *,
        is_session: bool = False,
        is_again: bool = False,
    ) -> Hit | None:
        """Return a kept answer that may be used, and bring it to the layers above where it lay.

        Args:
            is_again: this request has been looked up, and counted as a miss, before.
        """
        fetched = self._bulletin.read_if_due(_key(name))
        for entry, layer in self._candidates(name, fetched, is_session=is_session):
            if self._may_serve(entry, control):
                if layer != "memory":
                    self._remember(name, entry, is_session=is_session)
                return self._hit(entry, layer, is_again=is_again)
        if not is_again:
            self._bulletin.count("misses")
        return None

    def admit(
        self, name: str, data: bytes, control: CacheControl, *, is_session: bool
    ) -> Hit | None:
        """Return what `keep` has just encoded in another process, as `look` does a second time."""
        entry = decode(data)
        if entry is None or not self._may_serve(entry, control):
            return None
        self._remember(name, entry, is_session=is_session)
        return self._hit(entry, "session" if is_session else "redis", is_again=True)

    def keep(
        self, name: str, entry: Entry, control: CacheControl, *, is_session: bool = False
    ) -> bytes | None:
        """Keep an answer in every layer of its kind and return it encoded.

        One that was purged while it was made is not kept. One that was asked for anew takes the
        place of what any process remembers.
        """
        self._bulletin.read_if_due(_key(name))
        if self._bulletin.is_purged(entry):
            return None
        longest_s = L2_TTL_S if is_session else self._ttl_s
        ttl_ms = int(jittered_s(min(longest_s, control.ttl_s or longest_s)) * 1000)
        entry = msgspec.structs.replace(entry, kept_until_ms=now_ms() + ttl_ms)
        self._remember(name, entry, is_session=is_session)
        data = encode(entry)
        with self._redis.tried() as redis:
            if redis is not None:
                redis.set(_key(name), data, px=ttl_ms)
                if control.mode == "refresh":
                    self._bulletin.tell_replaced(redis, name)
        self._bulletin.count("stores")
        self._bulletin.count("stored_bytes", len(data))
        return data

    def forget(self, name: str) -> None:
        """Let this process look into Redis next time."""
        self._memory.drop(name)
        self._session.drop(name)

    def purge(self, kind: Dependency, value: str = "") -> bool:
        """Void every answer kept so far that depends on the value, in all processes within 1 s.

        Returns:
            False when Redis did not take it: then only this process knows.
        """
        return self._bulletin.purge(kind, value)

    def stats(self) -> dict[str, int]:
        """Return today's counts of all processes (UTC); nothing while Redis is away."""
        return self._bulletin.counts()

    def _candidates(
        self, name: str, fetched: Fetched | None, *, is_session: bool
    ) -> Iterator[tuple[Entry, CacheLayer]]:
        """Yield what the layers hold, from the top; Redis is asked only if that is got to."""
        if entry := self._memory.get(name):
            yield entry, "memory"
        if is_session and (entry := self._session.get(name)):
            yield entry, "session"
        data = self._fetch(name) if fetched is None else fetched.data
        if data is not None and (entry := decode(data)):
            yield entry, "session" if is_session else "redis"

    def _fetch(self, name: str) -> bytes | None:
        with self._redis.tried() as redis:
            data = redis.get(_key(name)) if redis is not None else None
            return data if isinstance(data, bytes) else None
        return None

    def _may_serve(self, entry: Entry, control: CacheControl) -> bool:
        is_young = control.max_age_s is None or _age_s(entry) <= control.max_age_s
        is_alive = now_ms() < entry.kept_until_ms
        return is_young and is_alive and not self._bulletin.is_purged(entry)

    def _hit(self, entry: Entry, layer: CacheLayer, *, is_again: bool) -> Hit:
        self._bulletin.count(f"hits:{layer}")
        self._bulletin.count("saved_micros", entry.cost_micros)
        if is_again:
            self._bulletin.count("misses", -1)
        return Hit(entry, layer, _age_s(entry))

    def _remember(self, name: str, entry: Entry, *, is_session: bool) -> None:
        left_s = (entry.kept_until_ms - now_ms()) / 1000
        self._memory.put(name, entry, left_s)
        if is_session:
            self._session.put(name, entry, left_s)


def _key(name: str) -> str:
    return f"aether:cache:{name}"


def _age_s(entry: Entry) -> float:
    return max(0.0, time.time() - entry.asked_ms / 1000)
