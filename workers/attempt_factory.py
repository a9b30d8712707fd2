"""How a worker process makes its attempts: what each begins with, by whose claim it is."""

from __future__ import annotations

from core import events
from core.models import Catalogue
from core.outcome import WORKER_LOST
from core.timing import TimeAccount, now_ms
from storage.jobs.attempts import Attempts
from storage.jobs.claims import Claim
from storage.jobs.teams import SlotClaim
from storage.limits.lessons import Lessons
from workers.attempt import JobAttempt
from workers.event_writer import EventWriter
from workers.history import Histories
from workers.leases import LeaseKeeper
from workers.task_events import TaskEvents


class AttemptFactory:
    """Makes the attempts of one worker process."""

    def __init__(
        self,
        store: Attempts,
        keeper: LeaseKeeper,
        writer: EventWriter,
        catalogue: Catalogue,
        task_events: TaskEvents,
        lessons: Lessons,
        histories: Histories,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._writer = writer
        self._catalogue = catalogue
        self._task_events = task_events
        self._lessons = lessons
        self._histories = histories

    def of_job(self, claim: Claim) -> JobAttempt:
        """Begin an attempt at a whole job; its start is shown with whatever is shown first."""
        created_ms = claim.spec.created_ms
        is_first = claim.attempt == 1 and not claim.was_parked and claim.spec.run_at_ms is None
        in_line_ms = claim.queued_ms if is_first else claim.accepted_ms
        account = TimeAccount(created_ms)
        account.record("accept", in_line_ms - created_ms)
        account.record("queue", now_ms() - in_line_ms)
        attempt = self.of(claim, account)
        if claim.attempt > 1:
            attempt.hold(events.job_retrying(WORKER_LOST, claim.attempt))
        attempt.hold(events.job_started(claim.attempt))
        return attempt

    def of_slot(self, held: SlotClaim, account: TimeAccount) -> JobAttempt:
        """Begin an attempt at a slot."""
        claim, slot = held.claim, held.slot
        attempt = self.of(claim, account)
        if claim.attempt > 1:
            attempt.hold(
                events.job_retrying(
                    WORKER_LOST, claim.attempt, agent=slot.speaker, round_number=slot.round
                )
            )
        return attempt

    def of(self, claim: Claim, time_account: TimeAccount) -> JobAttempt:
        """Begin an attempt of which nothing is shown yet."""
        return JobAttempt(
            claim,
            self._store,
            self._keeper,
            self._writer,
            self._catalogue,
            self._task_events,
            time_account=time_account,
            lessons=self._lessons,
            histories=self._histories,
        )
