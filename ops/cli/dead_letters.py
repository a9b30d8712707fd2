"""Dead letters: jobs whose workers died too often. They can be listed and submitted again.

Jobs whose outcome could not be stored are listed beside them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from core.errors import AetherError, StoreUnavailable, SumsUnknown
from core.ids import new_job_id
from core.jobs import Job, JobStatus, default_expiry_ms
from ops.stack.state import CannotRun
from storage.accounts.cache_secrets import CacheSecrets
from storage.accounts.users import Accounts
from storage.connections import mongo_database, redis_client
from storage.jobs.acceptance import Acceptance, IdempotencyClaim
from storage.jobs.lines import Lines
from storage.jobs.recovery import Recovery
from storage.jobs.store import JobStore
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.jobs import JobSpec, Question
    from core.plans import Plan
    from core.settings import Settings
    from storage.records.set_aside import SetAside

#: Metadata key of a requeued job; its value is the dead job's id.
ORIGIN: Final = "requeued_from"


class DeadLetters:
    """The dead letters of one deployment.

    Every method raises CannotRun when MongoDB or Redis does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        database = mongo_database(settings)
        self._records = JobRecords(database)
        self._accounts = Accounts(database)
        self._cache_secrets = CacheSecrets(database)
        redis = redis_client(settings, name="aether-ops", answer_timeout_s=5.0)
        self._acceptance = Acceptance(redis)
        self._lost_jobs = LostJobs(
            JobStore(redis), Recovery(redis), self._records, Ledger(database)
        )
        self._lines = Lines(redis, lease_s=settings.lease_s)

    def list(self, *, limit: int) -> list[Job]:
        """Return the latest, newest first."""
        try:
            return self._records.dead_letters(limit=limit)
        except StoreUnavailable as error:
            raise CannotRun(error.message) from error

    def set_aside(self, *, limit: int) -> tuple[int, Sequence[SetAside]]:
        """Return of how many jobs the outcome could not be stored, and the latest of them."""
        try:
            return self._records.set_aside.count(), self._records.set_aside.list(limit=limit)
        except StoreUnavailable as error:
            raise CannotRun(error.message) from error

    def requeue(self, job_id: str) -> str:
        """Submit the dead job's request again for its user, and return the new job's id.

        The dead job stays failed. A repeat within a day returns the same new job. It stands
        in its user's line at once.

        Raises:
            CannotRun: there is no such dead letter, or its user may not submit now.
        """
        try:
            return self._requeue(job_id)
        except AetherError as error:
            raise CannotRun(error.message) from error

    def _requeue(self, job_id: str) -> str:
        dead = self._records.dead_letter(job_id)
        user = self._accounts.get(dead.spec.user_id) if dead is not None else None
        if dead is None or dead.question is None or user is None:
            raise CannotRun(f"There is no dead letter {job_id} of an account that still exists.")
        now_ms = int(time.time() * 1000)
        spec = msgspec.structs.replace(
            dead.spec,
            id=new_job_id(user.id),
            created_ms=now_ms,
            plan=user.plan.name,
            run_at_ms=None,
            expires_at_ms=default_expiry_ms(now_ms, is_batch=dead.spec.is_batch),
            metadata=dead.spec.metadata | {ORIGIN: job_id},
            cache_secret=self._cache_secrets.of(user.id, user.cache_secret),
        )
        claim = IdempotencyClaim(digest=f"requeue-{job_id}", body_hash=job_id)
        accepted_id = self._accept(spec, dead.question, user.plan_in_force(), claim)
        if accepted_id == spec.id:
            queued = Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=dead.question)
            self._record(queued, claim)
            # Upkeep wakes a worker for it.
            self._lines.enter([spec])
        return accepted_id

    def _accept(
        self, spec: JobSpec, question: Question, plan: Plan, claim: IdempotencyClaim
    ) -> str:
        try:
            return self._acceptance.accept(spec, question, plan, claim).job_id
        except SumsUnknown:
            self._lost_jobs.know_sums(spec)
            return self._acceptance.accept(spec, question, plan, claim).job_id

    def _record(self, job: Job, claim: IdempotencyClaim) -> None:
        try:
            self._records.insert(job)
        except StoreUnavailable:
            self._acceptance.withdraw(job.spec, claim)
            raise
