"""Dead letters: jobs whose workers died too often. They can be listed and submitted again.

Jobs whose outcome could not be stored are listed beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.errors import AetherError, StoreUnavailable
from core.jobs import Job
from core.lessons import NOTHING_LEARNED
from core.models import read_catalogue
from ops.stack.state import CannotRun
from storage.accounts.cache_secrets import CacheSecrets
from storage.accounts.users import Accounts
from storage.connections import mongo_database, redis_client
from storage.jobs.acceptance import Acceptance
from storage.jobs.lines import Lines
from storage.jobs.recovery import Recovery
from storage.jobs.store import JobStore
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs
from workers.resubmission import Resubmission

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        redis = redis_client(settings, name="aether-ops", answer_timeout_s=5.0)
        lines = Lines(redis, lease_s=settings.lease_s)
        self._resubmission = Resubmission(
            *(settings, self._accounts, CacheSecrets(database), Acceptance(redis)),
            LostJobs(JobStore(redis), Recovery(redis), self._records, Ledger(database)),
            self._records,
            read_catalogue(settings.llm_provider, settings.models_file),
            lambda _: NOTHING_LEARNED,
            # Upkeep wakes a worker for it.
            lambda spec: lines.enter([spec]),
        )

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
        if dead is None or self._accounts.get(dead.spec.user_id) is None:
            raise CannotRun(f"There is no dead letter {job_id} of an account that still exists.")
        metadata = dead.spec.metadata | {ORIGIN: job_id}
        return self._resubmission.again(dead, f"requeue-{job_id}", metadata=metadata)
