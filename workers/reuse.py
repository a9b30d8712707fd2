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
from core.job import CacheUse, JobSpec, JobStatus, Outcome
from core.versions import policy_version
from storage.attempts import NO_EVENTS
from storage.flights import Role
from workers.endings import Deferred, Ended, finish

if TYPE_CHECKING:
    from storage.attempts import Claim
    from workers.coalescing import LeadFlight
    from workers.runtime import Runtime

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
    if not asked.name or spec.cache.mode != "use":
        return False
    began = time.monotonic()
    hit = runtime.cache.look(asked.name, spec.cache, is_session=spec.conversation_id is not None)
    spent_ms["cache"] = round((time.monotonic() - began) * 1000)
    if hit is None:
        return False
    total = max(0, int(time.time() * 1000) - spec.created_ms)
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
    return True


def line_up(runtime: Runtime, claim: Claim, asked: Asked) -> tuple[Role, LeadFlight | None]:
    """Lead the answering of what is asked, unless another job that asks the same does.

    Returns:
        FOLLOW when the claim is handed over; ANSWERED when another look into the cache is worth
        while; LEAD, and what to end when the job ends, if others may follow.
    """
    if not asked.name or claim.spec.cache.mode != "use":
        return Role.LEAD, None
    role, led = runtime.coalescer.enter(asked.name, claim)
    if role is Role.FOLLOW:
        logger.info("another job asks the same; it answers for both")
    return role, led if role is Role.LEAD else None


def keep(runtime: Runtime, spec: JobSpec, name: str, status: JobStatus, outcome: Outcome) -> None:
    """Keep the answer if it is whole and good.

    Args:
        name: the fingerprint from before the answer was made: the conversation may have gone on.
    """
    entry = to_entry(spec, status, outcome, policy_version()) if name else None
    if entry is not None:
        is_session = spec.conversation_id is not None
        runtime.cache.keep(name, entry, spec.cache, is_session=is_session)


def end_flight(runtime: Runtime, led: LeadFlight | None, ended: Ended | Deferred | None) -> None:
    """End those who follow as the leader ended; an end that is its alone sends them on their way.

    Args:
        ended: None when another attempt has the leader's job.
    """
    if led is None:
        return
    if isinstance(ended, Ended) and _is_for_all(ended):
        runtime.coalescer.end(led, ended)
    else:
        runtime.coalescer.send_on(led, ended.wait_s if isinstance(ended, Deferred) else 0.0)


def _is_for_all(ended: Ended) -> bool:
    """Say whether the end follows from what was asked, and not from this job's own bounds."""
    error = ended.outcome.error
    is_late = error is not None and error.code == "deadline_exceeded"
    return ended.status is not JobStatus.CANCELLED and not is_late


def with_use(outcome: Outcome, asked: Asked) -> Outcome:
    """Return the outcome with what the cache had to do with it."""
    return msgspec.structs.replace(outcome, cache=asked.use)
