"""A store that takes jobs in whose budgets have paid nothing before, for tests without a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.budgets import Budget
from core.errors import SumsUnknown
from core.plans import Plan
from storage import keys
from storage.jobs.acceptance import Acceptance, IdempotencyClaim
from storage.jobs.recovery import Recovery, Restored
from storage.jobs.store import JobStore

if TYPE_CHECKING:
    from redis import Redis

    from core.events import NewEvent
    from core.jobs import Job, JobSpec, Question


class AcceptingStore(JobStore):
    """Jobs that can be read, taken in, withdrawn and brought back."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.acceptance, self.recovery = Acceptance(redis), Recovery(redis)

    def accept(
        self, spec: JobSpec, question: Question, plan: Plan, claim: IdempotencyClaim | None
    ) -> str:
        """Take the job in and return the id by which it is known."""
        try:
            return self.acceptance.accept(spec, question, plan, claim).job_id
        except SumsUnknown:
            self.know(spec)
            return self.acceptance.accept(spec, question, plan, claim).job_id

    def accept_answered(self, job: Job, log: list[NewEvent], claim: IdempotencyClaim | None) -> str:
        plan = Plan(name="pro", running=1, unfinished=1, monthly_budget_micros=1)
        return self.acceptance.accept_answered(job, log, plan, claim).job_id

    def withdraw(self, spec: JobSpec, claim: IdempotencyClaim | None = None) -> bool:
        return self.acceptance.withdraw(spec, claim)

    def restore(self, spec: JobSpec, question: Question) -> Restored:
        self.know(spec)
        return self.recovery.restore(spec, question)

    def restore_many(self, lost: list[tuple[JobSpec, Question]]) -> list[Restored]:
        for spec, _ in lost:
            self.know(spec)
        return self.recovery.restore_many(lost)

    def know(self, spec: JobSpec) -> None:
        """Let each budget of the job be known to have paid nothing."""
        budgets: tuple[Any, ...] = spec.budgets or (Budget("user", 0),)
        for budget in budgets:
            name = keys.budget_of(budget.scope, spec.user_id, spec.api_key_id, spec.created_ms)
            self.recovery.know_spent(name, 0)
