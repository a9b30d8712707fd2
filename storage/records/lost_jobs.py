"""Bringing back what Redis lost: unfinished jobs from their records, sums from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from core.errors import ServiceUnavailable
from core.jobs import JobSpec, Question
from storage import keys
from storage.jobs.recovery import Recovery, Restored
from storage.jobs.store import JobStore

if TYPE_CHECKING:
    from storage.records.jobs import JobRecords
    from storage.records.ledger import Ledger

#: So many jobs of one user are brought back while he waits; the rest with his next request.
_AT_ONCE: Final = 200


class LostJobs:
    """Restores jobs and sums; a repeat changes nothing.

    Raises CoordinatorUnavailable and StoreUnavailable when Redis or MongoDB is away: what is back
    stays.
    """

    def __init__(
        self, store: JobStore, recovery: Recovery, records: JobRecords, ledger: Ledger
    ) -> None:
        self._store = store
        self._recovery = recovery
        self._records = records
        self._ledger = ledger

    def know_sums(self, spec: JobSpec) -> None:
        """Bring back a user's unfinished jobs, and what each budget of the job has paid.

        Raises:
            ServiceUnavailable: many of his jobs are still missing; the next call goes on.
        """
        user_id = spec.user_id
        missing = self._absent(self._records.unfinished_ids_of(user_id))
        if missing:
            self.bring_back(self._records.unfinished_of(user_id, missing[:_AT_ONCE]))
        if len(missing) > _AT_ONCE:
            raise ServiceUnavailable(
                "Your unfinished jobs are being brought back; try again.", retry_after_s=1
            )
        self._know_budgets([spec])

    def spent_of(self, user_id: str, at_ms: int) -> int:
        """Return what a user's month (UTC) of `at_ms` has paid by the ledger, in micro-dollars."""
        return self._ledger.paid_by("user", user_id, None, at_ms)

    def bring_back(self, lost: Sequence[tuple[JobSpec, Question]]) -> int:
        """Restore the jobs that Redis does not have, and return how many it did not.

        The record of one that was withdrawn is removed.
        """
        jobs = self._store.get_many([spec.id for spec, _ in lost])
        missing = [record for record, job in zip(lost, jobs, strict=True) if job is None]
        answers = self._recovery.restore_many(missing)
        unknown = [
            record
            for record, answer in zip(missing, answers, strict=True)
            if answer is Restored.UNKNOWN
        ]
        self._know_budgets([spec for spec, _ in unknown])
        again = self._recovery.restore_many(unknown)
        for (spec, _), answer in zip([*missing, *unknown], [*answers, *again], strict=True):
            if answer is Restored.WITHDRAWN:
                self._records.discard_unfinished(spec.id)
        return [*answers, *again].count(Restored.RESTORED)

    def _absent(self, job_ids: Sequence[str]) -> list[str]:
        """Return which of the jobs Redis does not have."""
        jobs = self._store.get_many(job_ids)
        return [job_id for job_id, job in zip(job_ids, jobs, strict=True) if job is None]

    def _know_budgets(self, specs: Iterable[JobSpec]) -> None:
        whose = {
            keys.budget_of(budget.scope, spec.user_id, spec.api_key_id, spec.created_ms): (
                *(budget.scope, spec.user_id, spec.api_key_id, spec.created_ms),
            )
            for spec in specs
            for budget in spec.budgets_in_force
        }
        for name, of in whose.items():
            self._recovery.know_spent(name, self._ledger.paid_by(*of))
