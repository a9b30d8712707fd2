"""Jobs that ask the same at the same time: one makes the call, the others wait parked.

A parked job holds no thread and no lease. When the leader ends, all parked jobs are in line again
and find its answer in the cache, or its note: a kept answer, a failure that all share, or that the
answer is not to be shared, on which everybody answers for himself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from cache.entry import Hit
from core.jobs import JobStatus
from core.model_errors import BudgetGone, CostLimitReached
from core.outcome import OUT_OF_TIME, CacheUse, JobError, Outcome
from storage.limits.single_flight import Alone, Failed, Kept, Note, Role
from storage.limits.single_flight import SingleFlight as SharedSingleFlight
from workers.attempt import JobAttempt
from workers.patience import retry_while_redis_is_away
from workers.queue import WakeUps

logger = structlog.get_logger(__name__)
#: Error codes of ends that say nothing of the question.
_OWN_ENDS: Final = frozenset({OUT_OF_TIME.code, BudgetGone.code, CostLimitReached.code})


class Lead:
    """The right of one job to answer a question for all who ask it; see `SingleFlight.lead`.

    Args:
        fingerprint: of the question; empty for a job that answers for itself alone.
    """

    def __init__(
        self, shared: SharedSingleFlight, wake_ups: WakeUps, attempt: JobAttempt, fingerprint: str
    ) -> None:
        self._shared = shared
        self._wake_ups = wake_ups
        self._attempt = attempt
        self._fingerprint = fingerprint
        #: True where there is nobody to release: the job shares nothing, or has done so already.
        self.is_over = not fingerprint

    def renew(self) -> None:
        self._shared.renew(self._fingerprint, self._attempt.claim.job_id)

    def leave(self) -> None:
        """Do nothing more: another attempt of the same job leads now."""
        self.is_over = True

    def keep(self, wait_s: float) -> None:
        """Go on leading while the job is deferred for `wait_s`, so that the others stay parked."""
        if not self.is_over:
            self._shared.keep(self._fingerprint, self._attempt.claim.job_id, wait_s)
            self.is_over = True

    def end(self, note: Note | None = None) -> None:
        """Release the parked jobs with a note; without one, the first of them leads."""
        if self.is_over:
            return
        self.is_over = True
        spec = self._attempt.spec
        released = retry_while_redis_is_away(
            lambda: self._shared.end(self._fingerprint, spec.id, note),
            until=self._attempt.deadline,
        )
        self._wake_ups.send("quick" if spec.mode == "quick" else "run", released.unwoken)
        if released.count:
            logger.info("parked jobs released", count=released.count, note=type(note).__name__)


class SingleFlight:
    """Decides for each job whether it makes the call, waits for one that does, or takes its end."""

    def __init__(self, shared: SharedSingleFlight, wake_ups: WakeUps) -> None:
        self._shared = shared
        self._wake_ups = wake_ups

    @contextmanager
    def lead(
        self, attempt: JobAttempt, fingerprint: str, to_hit: Callable[[bytes], Hit | None]
    ) -> Iterator[Lead | None]:
        """Lead the answering of a question while the block runs, unless another job does or did.

        Yields:
            the right to lead, which is given up with the block at the latest; None where there is
            nothing left to do: the job was parked, ended by the leader's note, or is another
            attempt's by now.

        Args:
            fingerprint: of the question; empty for a job that shares nothing with others.
            to_hit: turns the answer of a leader that has just ended into a hit, if it may serve.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        if not fingerprint:
            yield Lead(self._shared, self._wake_ups, attempt, "")
            return
        entered = self._shared.enter(fingerprint, attempt.claim)
        if entered.role in (Role.PARKED, Role.LOST):
            logger.info("job left this worker unanswered", why=entered.role.value)
            attempt.report_given_back(entered.role.value)
            yield None
            return
        if entered.role is Role.NOTE:
            # A note that cannot be used, or says that the answer is nobody else's: answer alone.
            is_ended = _end_by(entered.note, attempt, to_hit)
            yield None if is_ended else Lead(self._shared, self._wake_ups, attempt, "")
            return
        lead = Lead(self._shared, self._wake_ups, attempt, fingerprint)
        with attempt.renewing(lead.renew):
            try:
                yield lead
            finally:
                lead.end()


def _end_by(note: Note | None, attempt: JobAttempt, to_hit: Callable[[bytes], Hit | None]) -> bool:
    """End the job as the leader's note says; False where the note ends nothing."""
    if isinstance(note, Failed):
        error = JobError(note.code, note.message)
        timing = attempt.time.close(rest="cache")
        use = CacheUse(status="coalesced")
        attempt.finish(JobStatus.FAILED, Outcome(error=error, timing_ms=timing, cache=use))
        return True
    hit = to_hit(note.data) if isinstance(note, Kept) else None
    if hit is not None:
        attempt.finish_with_hit(hit, coalesced=True)
    return hit is not None


def note_of(status: JobStatus, outcome: Outcome, kept: bytes) -> Note | None:
    """Return the note on the leader's end for the parked jobs.

    Args:
        kept: the answer as the cache keeps it; empty if it does not.
    """
    if kept:
        return Kept(kept)
    error = outcome.error
    if status is JobStatus.FAILED and error is not None:
        return Failed(error.code, error.message)
    # A cancel, a deadline and a budget say nothing of the question: another job leads.
    is_own = status is JobStatus.CANCELLED or (error is not None and error.code in _OWN_ENDS)
    return None if is_own else Alone()
