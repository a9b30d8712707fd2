"""The response cache as jobs use it: what a job asks, a kept answer for it, and keeping its own."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from cache.entry import Hit, to_entry
from cache.fingerprint import Fingerprints
from cache.response_cache import ResponseCache
from core.chat import Message
from core.jobs import JobSpec, JobStatus, Question
from core.outcome import CacheUse, Outcome


class Asked(Struct, frozen=True, kw_only=True):
    """What a job asks, as the cache knows it.

    Attributes:
        fingerprint: empty where the job bypasses the cache, or has none.
        is_shared: a kept answer, or that of a job that asks the same now, may serve it.
    """

    fingerprint: str
    is_shared: bool

    @property
    def shared_fingerprint(self) -> str:
        """The fingerprint, or empty where no other job's answer may serve."""
        return self.fingerprint if self.is_shared else ""

    @property
    def use(self) -> CacheUse:
        """What the outcome of a job says that found no kept answer."""
        return CacheUse(status="miss" if self.fingerprint else "bypass")


class AnswerCache:
    """One worker process's use of the response cache.

    Args:
        version: of prompts and weights, which kept answers are marked with.
    """

    def __init__(self, cache: ResponseCache, fingerprints: Fingerprints, version: str) -> None:
        self._cache = cache
        self._fingerprints = fingerprints
        self._version = version

    def asked(self, spec: JobSpec, question: Question, history: Sequence[Message]) -> Asked:
        """Return what the job asks, the conversation so far included."""
        if spec.cache.mode == "bypass":
            return Asked(fingerprint="", is_shared=False)
        fingerprint = self._fingerprints.of(spec, question, history)
        is_shared = bool(fingerprint) and spec.cache.mode == "use"
        return Asked(fingerprint=fingerprint, is_shared=is_shared)

    def find(self, spec: JobSpec, asked: Asked) -> Hit | None:
        """Return a kept answer that may serve the job."""
        if not asked.is_shared:
            return None
        is_session = spec.conversation_id is not None
        return self._cache.get(asked.fingerprint, spec.cache, is_session=is_session)

    def decode(self, spec: JobSpec, asked: Asked, data: bytes) -> Hit | None:
        """Return an answer that another process has just kept; None where it may not serve."""
        is_session = spec.conversation_id is not None
        return self._cache.add_encoded(asked.fingerprint, data, spec.cache, is_session=is_session)

    def keep(self, spec: JobSpec, fingerprint: str, status: JobStatus, outcome: Outcome) -> bytes:
        """Keep a whole, good answer and return it encoded; empty where nothing is kept."""
        entry = to_entry(spec, status, outcome, self._version) if fingerprint else None
        if entry is None:
            return b""
        is_session = spec.conversation_id is not None
        return self._cache.put(fingerprint, entry, spec.cache, is_session=is_session) or b""
