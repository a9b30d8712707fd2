"""A job and the answers that were given before: look, lead or follow, keep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import Struct

from cache.entry import to_entry
from cache.replay import events_of, outcome_of
from core.chat import Message
from core.jobs import JobSpec, JobStatus
from core.outcome import CacheUse, Outcome
from core.policy_version import policy_version
from storage.jobs.attempts import NO_EVENTS
from storage.limits.single_flight import Role
from workers.attempt import Deferred, Ended, finish

if TYPE_CHECKING:
    from cache.response_cache import Hit
    from storage.jobs.attempts import Claim
    from workers.single_flight import LeadFlight
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)


class Asked(Struct, frozen=True, kw_only=True):
    """What a job asks, as the cache knows it.

    Attributes:
        name: the fingerprint; empty when the job has nothing to do with the cache.
    """

    name: str
    history: Sequence[Message]

    @property
    def use(self) -> CacheUse:
        """How a job's outcome speaks of an answer that was not there."""
        return CacheUse(status="miss" if self.name else "bypass")


def asked_by(runtime: Runtime, spec: JobSpec, history: Sequence[Message]) -> Asked:
    """Name what the job asks, the conversation so far included."""
    is_apart = spec.cache.mode == "bypass"
    name = "" if is_apart else runtime.fingerprints.of(spec, history)
    return Asked(name=name, history=history)


def answer_again(runtime: Runtime, claim: Claim, asked: Asked, spent_ms: dict[str, int]) -> bool:
    """End the job with an answer that was given before, if there is one that may serve.

    Args:
        spent_ms: the job's time so far, by part.
    """
    spec = claim.spec
    if not _may_reuse(spec, asked):
        return False
    is_session = spec.conversation_id is not None
    began = time.monotonic()
    # Without a conversation it was looked up when it was submitted.
    is_again = not is_session or claim.attempt > 1
    hit = runtime.cache.look(asked.name, spec.cache, is_session=is_session, is_again=is_again)
    spent_ms["cache"] = round((time.monotonic() - began) * 1000)
    if hit is not None:
        _finish_with(runtime, claim, hit, spent_ms)
    return hit is not None


def line_up(
    runtime: Runtime, claim: Claim, asked: Asked, spent_ms: dict[str, int]
) -> tuple[bool, LeadFlight | None]:
    """Lead the answering of what is asked, unless another job that asks the same does or just did.

    Returns:
        whether there is nothing left to do, the claim being handed over or the job ended; else
        what to end when the job ends, if others may follow.
    """
    spec = claim.spec
    if not _may_reuse(spec, asked):
        return False, None
    entered, led = runtime.coalescer.enter(asked.name, claim)
    if entered.role is Role.ANSWERED:
        is_session = spec.conversation_id is not None
        hit = runtime.cache.admit(asked.name, entered.answer, spec.cache, is_session=is_session)
        if hit is not None:
            _finish_with(runtime, claim, hit, spent_ms)
            return True, None
        entered, led = runtime.coalescer.enter(asked.name, claim, wants_new=True)
    if entered.role is Role.FOLLOW:
        logger.info("another job asks the same; it answers for both")
        return True, None
    return False, led


def keep(runtime: Runtime, spec: JobSpec, name: str, status: JobStatus, outcome: Outcome) -> bytes:
    """Keep the answer if it is whole and good, and return what is kept.

    Args:
        name: the fingerprint from before the answer was made: the conversation may have gone on.
    """
    version = policy_version(runtime.settings.routing_file)
    entry = to_entry(spec, status, outcome, version) if name else None
    if entry is None:
        return b""
    is_session = spec.conversation_id is not None
    return runtime.cache.keep(name, entry, spec.cache, is_session=is_session) or b""


def end_flight(runtime: Runtime, led: LeadFlight | None, ended: Ended | Deferred | None) -> None:
    """End those who follow as the leader ended; an end that is its alone sends them on their way.

    Args:
        ended: None when another attempt has the leader's job.
    """
    if led is None:
        return
    if isinstance(ended, Ended) and not _is_own(ended):
        runtime.coalescer.end(led, ended)
    else:
        runtime.coalescer.send_on(led, ended.wait_s if isinstance(ended, Deferred) else 0.0)


def with_use(outcome: Outcome, asked: Asked) -> Outcome:
    """Return the outcome with what the cache had to do with it."""
    return msgspec.structs.replace(outcome, cache=asked.use)


def _may_reuse(spec: JobSpec, asked: Asked) -> bool:
    return bool(asked.name) and spec.cache.mode == "use"


def _is_own(ended: Ended) -> bool:
    """Say whether the job ended for reasons that others who ask the same do not share."""
    code = ended.outcome.error.code if ended.outcome.error else None
    return ended.status is JobStatus.CANCELLED or code == "deadline_exceeded"


def _finish_with(runtime: Runtime, claim: Claim, hit: Hit, spent_ms: dict[str, int]) -> None:
    total = max(0, int(time.time() * 1000) - claim.spec.created_ms)
    timing = {
        **spent_ms,
        "first_token": None,
        "model": 0,
        "synthesis": 0,
        "persist": max(0, total - sum(spent_ms.values())),
        "total": total,
    }
    outcome = outcome_of(hit, timing).with_spent(claim.spent)
    finish(runtime, claim, JobStatus.COMPLETED, outcome, (NO_EVENTS, events_of(hit)))
