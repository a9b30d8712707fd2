"""How work on a job is put away: ended, or given back; both outlast a short absence of Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from msgspec import Struct

from core.errors import CoordinatorUnavailable
from core.events import NewEvent
from core.jobs import JobStatus
from core.money import with_savings
from core.outcome import Outcome, Spent
from storage.jobs.attempts import NO_EVENTS

if TYPE_CHECKING:
    from core.outcome import AgentReport
    from storage.jobs.attempts import Batch, Claim
    from workers.event_writer import JobEvents
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)

#: How long what a worker has come to is kept in hand while Redis is away, in seconds.
_PATIENCE_S: Final = 60.0
_RETRY_S: Final = 0.5

Unwritten = tuple["Batch", list[NewEvent]]
NOTHING_UNWRITTEN: Final[Unwritten] = (NO_EVENTS, [])

T = TypeVar("T")


class Ended(Struct, frozen=True):
    """How an attempt ended its job, and what is kept of its answer; empty if nothing is."""

    status: JobStatus
    outcome: Outcome
    kept: bytes = b""


class Deferred(Struct, frozen=True):
    """The job is back in the queue for `wait_s`."""

    wait_s: float


def finish(
    runtime: Runtime, claim: Claim, status: JobStatus, outcome: Outcome, unwritten: Unwritten
) -> None:
    """End the job, waiting for Redis if need be; the fence keeps a late end harmless.

    Args:
        unwritten: what the attempt's pen still holds.
    """
    unsure, last_events = unwritten
    outcome = with_savings(outcome, runtime.catalogue)
    is_ended = patiently(
        lambda: runtime.attempts.finish(
            claim, status, outcome, unsure=unsure, last_events=last_events
        )
    )
    if is_ended:
        runtime.counters.count_cache_use(outcome)
        logger.info("job ended", status=status.value, **outcome.timing_ms)
    else:
        logger.warning("another attempt has the job; this end does not count")


def defer(
    runtime: Runtime, claim: Claim, wait_s: float, report: AgentReport, pen: JobEvents
) -> None:
    """Free this worker until the provider wants to be asked again; the sweeper sends the job."""
    reason = report.error.code if report.error else ""
    logger.info("job deferred", wait_s=wait_s, reason=reason)
    unsure, last_events = pen.take()
    runtime.attempts.defer(
        claim,
        wait_s,
        reason=reason,
        spent=Spent(report.usage, report.cost_micros),
        unsure=unsure,
        last_events=last_events,
    )


def patiently(call: Callable[[], T]) -> T:
    """Return what the call returns, trying for a minute while Redis is away.

    Raises:
        CoordinatorUnavailable: Redis stayed away.
    """
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return call()
        except CoordinatorUnavailable:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(_RETRY_S)
