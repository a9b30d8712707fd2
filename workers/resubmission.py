"""Submitting again what an ended job has asked, for its user and under the limits of now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from core.account_errors import TooManyAgents
from core.budgets import KeyLimits, budgets_of
from core.errors import (
    ContentGone,
    JobNotFound,
    StoreUnavailable,
    SumsUnknown,
    TierNotInPlan,
    UnknownModel,
)
from core.ids import new_job_id
from core.jobs import (
    CacheControl,
    Job,
    JobSpec,
    JobStatus,
    Question,
    RouteRequest,
    default_expiry_ms,
)
from core.lessons import Lesson
from core.models import TIERS, Catalogue, Model, Tier
from core.plans import Plan
from core.reservation import Ask, reserve, units_of
from core.settings import Settings
from core.timing import now_ms
from storage.accounts.cache_secrets import CacheSecrets
from storage.accounts.users import Accounts
from storage.jobs.acceptance import Acceptance, IdempotencyClaim
from storage.records.jobs import JobRecords
from storage.records.lost_jobs import LostJobs


class Resubmission:
    """Makes new jobs of ended ones.

    Args:
        enter: has a job that is durable wait in its line.
    """

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        cache_secrets: CacheSecrets,
        acceptance: Acceptance,
        lost_jobs: LostJobs,
        records: JobRecords,
        catalogue: Catalogue,
        lesson_of: Callable[[Model], Lesson],
        enter: Callable[[JobSpec], object],
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._cache_secrets = cache_secrets
        self._acceptance = acceptance
        self._lost_jobs = lost_jobs
        self._records = records
        self._catalogue = catalogue
        self._lesson_of = lesson_of
        self._enter = enter

    def again(self, old: Job, once: str, **changes: Any) -> str:
        """Submit what the job has asked as a new job, and return its id.

        Its times are not asked for again, its kept answer does not serve, and no API key pays.

        Args:
            once: a name; within a day a repeat under it returns the same new job.
            changes: fields of the new spec.

        Raises:
            JobNotFound: its account is gone.
            ContentGone: its question is not kept any more.
            TrialEnded, UnknownModel, TierNotInPlan, TooManyAgents: it cannot be met now.
            TooManyJobs, RateLimitExceeded, BudgetBusy, BudgetExhausted: no more fits now.
            StoreUnavailable, CoordinatorUnavailable: nothing was accepted.
        """
        user, question = self._accounts.get(old.spec.user_id), old.question
        if user is None:
            raise JobNotFound
        if question is None or not question.message:
            raise ContentGone
        plan = user.plan_in_force()
        spec = self._to_spec(old, plan, len(question.message))
        secret = self._cache_secrets.of(user.id, user.cache_secret)
        spec = msgspec.structs.replace(spec, cache_secret=secret, **changes)
        claim = IdempotencyClaim(digest=once, body_hash=old.id)
        accepted = self._accept(spec, question, plan, claim)
        if accepted == spec.id:
            try:
                self._records.insert(
                    Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=question)
                )
            except StoreUnavailable:
                self._acceptance.withdraw(spec, claim)
                raise
            self._enter(spec)
        return accepted

    def _accept(
        self, spec: JobSpec, question: Question, plan: Plan, claim: IdempotencyClaim
    ) -> str:
        try:
            return self._acceptance.accept(spec, question, plan, claim).job_id
        except SumsUnknown:
            self._lost_jobs.know_sums(spec)
            return self._acceptance.accept(spec, question, plan, claim).job_id

    def _to_spec(self, old: Job, plan: Plan, chars: int) -> JobSpec:
        spec, at_ms = old.spec, now_ms()
        route = self._route(spec, plan)
        units = units_of(spec.team)
        if spec.team is not None and spec.team.agents and units > plan.agents:
            raise TooManyAgents(f"The plan `{plan.name}` allows {plan.agents} agents.")
        model = self._catalogue.get(route.model) if route.model else None
        ask = Ask(
            chars=chars, max_tokens=spec.max_tokens, agent=spec.agent, model=model, team=spec.team
        )
        reservation = reserve(ask, self._catalogue, self._lesson_of)
        mode = "refresh" if spec.cache.mode == "use" else spec.cache.mode
        settings = self._settings
        return msgspec.structs.replace(
            spec,
            id=new_job_id(spec.user_id),
            created_ms=at_ms,
            allowed_ms=settings.job_deadline_s * 1000,
            plan=plan.name,
            route=route,
            units=units,
            run_at_ms=None,
            expires_at_ms=default_expiry_ms(at_ms, is_batch=spec.is_batch),
            reserved_micros=reservation.expected_micros,
            least_micros=reservation.least_micros,
            api_key_id=None,
            budgets=budgets_of(
                plan, KeyLimits(), settings.monthly_budget_usd, settings.daily_budget_usd
            ),
            cache=CacheControl(mode=mode, ttl_s=spec.cache.ttl_s, max_age_s=spec.cache.max_age_s),
        )

    def _route(self, spec: JobSpec, plan: Plan) -> RouteRequest:
        """Return the route that was asked for, within the plan of now."""
        route, pinned = spec.route, spec.route.tier
        if route.model is not None:
            if self._catalogue.get(route.model) is None:
                raise UnknownModel(f"There is no model {route.model!r:.70} any more.")
            pinned = self._catalogue.tier_of(route.model)
        if pinned is not None and _is_above(pinned, plan):
            raise TierNotInPlan(f"The plan `{plan.name}` includes tiers up to `{plan.max_tier}`.")
        most = plan.max_tier if _is_above(route.max_tier, plan) else route.max_tier
        return msgspec.structs.replace(route, max_tier=most)


def _is_above(tier: Tier, plan: Plan) -> bool:
    return TIERS.index(tier) > TIERS.index(plan.max_tier)
