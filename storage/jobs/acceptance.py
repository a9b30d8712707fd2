"""Taking jobs in: admit a user, accept a job, withdraw one.

Every change is one Lua script, so it happens wholly or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core import events
from core.budgets import Budget, KeyLimits, Window, windows_of
from core.errors import SumsUnknown
from core.ids import shard_of
from core.jobs import Job, JobSpec, Question
from core.outcome import Outcome
from core.plans import Plan
from core.timing import iso_time
from storage import keys
from storage.jobs import fields
from storage.jobs.bounds import bounded
from storage.jobs.refusals import refusal_of, with_left
from storage.jobs.script_values import (
    encode,
    to_budgets,
    to_data,
    to_open_data,
    to_pairs,
    to_wait,
    to_windows,
)
from storage.scripts import WITH_ALL, WITH_LIMITS, WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

    from core.events import NewEvent

#: How long after an accept the sweeper looks for its record, in milliseconds.
_RECORD_WITHIN_MS: Final = 10_000
_IDEMPOTENCY_TTL_S: Final = 24 * 3600
_NO_LIMITS: Final = KeyLimits()


class IdempotencyClaim(Struct, frozen=True):
    """A client's Idempotency-Key: `digest` stands for the key, `body_hash` for the request."""

    digest: str
    body_hash: str


class Applicant(Struct, frozen=True, kw_only=True):
    """Who wants to submit a job, before it is looked at.

    Attributes:
        budgets: what would pay for it.
        units: how many model calls it makes at a time.
    """

    user_id: str
    plan: Plan
    budgets: tuple[Budget, ...]
    key_id: str | None = None
    key_limits: KeyLimits = _NO_LIMITS
    units: int = 1


class Accepted(Struct, frozen=True):
    """What came of an accept.

    Attributes:
        job_id: another job's where an earlier request used the Idempotency-Key.
        windows: what is left of each; empty for a repeat.
    """

    job_id: str
    windows: Sequence[Window] = ()


class Acceptance:
    """The scripts that take jobs in; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._admit = Script(redis, "admit", behind=(*WITH_LIMITS, "money"))
        self._accept = Script(redis, "accept", behind=WITH_ALL)
        self._accept_answered = Script(redis, "accept_answered", behind=WITH_LIMITS)
        self._withdraw = Script(redis, "withdraw", behind=(*WITH_LINES, "money"))

    def admit(
        self, who: Applicant, at_ms: int, models: Sequence[str], claim: IdempotencyClaim | None
    ) -> list[bytes | None]:
        """Refuse early what `accept`, which decides, would refuse whatever the question is.

        A repeat of an Idempotency-Key passes: it is answered with the first job.

        Returns:
            what was learned of the user's answers by each of the models; see `storage.learned`.

        Raises:
            TooManyJobs, RateLimitExceeded, BudgetExhausted: nothing more fits now.
        """
        windows = windows_of(who.plan, 0, who.key_id, who.key_limits)
        arguments = [
            who.units,
            who.plan.unfinished,
            to_windows(who.user_id, windows),
            to_budgets(who.budgets, who.user_id, who.key_id, at_ms),
            int(claim is not None),
            *models,
        ]
        key_names = [
            keys.active(who.user_id),
            keys.idempotency(who.user_id, claim.digest if claim else ""),
            keys.learned_of_user(who.user_id),
        ]
        answer, *rest = self._admit.run(key_names, arguments)
        if answer != b"admitted":
            raise refusal_of(answer, rest, who.plan, who.budgets, at_ms)
        learned: list[bytes | None] = rest
        return learned

    def accept(
        self,
        spec: JobSpec,
        question: Question,
        plan: Plan,
        idempotency: IdempotencyClaim | None,
        *,
        key_limits: KeyLimits = _NO_LIMITS,
        is_request: bool = True,
    ) -> Accepted:
        """Take a job in; a repeat of an Idempotency-Key is answered with the first job's id.

        Holds `spec.reserved_micros` in its budgets and counts the job as unfinished.

        Args:
            is_request: it counts among the requests of its user, who submitted it.

        Raises:
            TooManyJobs, RateLimitExceeded: the plan, or the API key, has no room for it.
            BudgetExhausted: what is left does not cover the least that it costs.
            BudgetBusy: unfinished jobs hold what it most likely costs.
            IdempotencyConflict: the key was used with another body.
            SumsUnknown: see `know_spent`; nothing was stored.
        """
        encoded = encode(spec), encode(question)
        size = sum(map(len, encoded))
        windows = windows_of(plan, size, spec.api_key_id, key_limits, requests=int(is_request))
        budgets = spec.budgets or (Budget("user", plan.monthly_budget_micros),)
        arguments = [
            spec.id,
            *encoded,
            iso_time(spec.created_ms),
            spec.reserved_micros,
            spec.least_micros,
            to_budgets(budgets, spec.user_id, spec.api_key_id, spec.created_ms),
            spec.units,
            plan.unfinished,
            to_windows(spec.user_id, windows),
            _RECORD_WITHIN_MS,
            idempotency.body_hash if idempotency else "",
            _IDEMPOTENCY_TTL_S,
            to_data(events.job_queued(spec.mode)),
            *to_wait(spec),
        ]
        key_names = [*keys.of_live_job(spec.id, spec.user_id), _idempotency_key(spec, idempotency)]
        answer, *rest = self._accept.run(key_names, arguments)
        return _to_accepted(answer, rest, spec, plan, budgets, windows)

    def accept_answered(
        self,
        job: Job,
        log: Sequence[NewEvent],
        plan: Plan,
        idempotency: IdempotencyClaim | None,
        *,
        key_limits: KeyLimits = _NO_LIMITS,
    ) -> Accepted:
        """Take in a job that has completed already; answers as `accept` does.

        It used nothing, holds nothing and never counts as unfinished. Nothing is published: nobody
        can know of the job yet.

        Args:
            job: with its question and its outcome.
            log: all its events; the last is from `core.events.job_ended`.

        Raises:
            RateLimitExceeded: the plan, or the API key, has no room for it.
            IdempotencyConflict: the key was used with another body.
        """
        spec, outcome = job.spec, bounded(job.outcome or Outcome())
        content = [
            encode(spec),
            encode(job.question),
            iso_time(spec.created_ms),
            encode(fields.without_totals(outcome)),
        ]
        pairs = [*to_pairs(log[:-1]), log[-1].type, to_open_data(log[-1])]
        size = sum(len(part or "") for part in (*content, *pairs))
        windows = windows_of(plan, size, spec.api_key_id, key_limits)
        key_names = [
            *keys.of_script(spec.id),
            keys.records(shard_of(spec.id)),
            _idempotency_key(spec, idempotency),
        ]
        arguments = [
            spec.id,
            *content,
            idempotency.body_hash if idempotency else "",
            _IDEMPOTENCY_TTL_S,
            job.started_ms,
            job.finished_ms,
            to_windows(spec.user_id, windows),
            *pairs,
        ]
        answer, *rest = self._accept_answered.run(key_names, arguments)
        return _to_accepted(answer, rest, spec, plan, (), windows)

    def withdraw(self, spec: JobSpec, idempotency: IdempotencyClaim | None = None) -> bool:
        """Forget a job that has no durable record; False once a worker has begun it."""
        key_names = [
            *keys.of_live_job(spec.id, spec.user_id),
            keys.spend(spec.user_id, spec.created_ms),
            _idempotency_key(spec, idempotency),
        ]
        return bool(self._withdraw.run(key_names, [spec.id]))


def _to_accepted(
    answer: bytes,
    rest: list[Any],
    spec: JobSpec,
    plan: Plan,
    budgets: Sequence[Budget],
    windows: Sequence[Window],
) -> Accepted:
    match answer:
        case b"accepted":
            return Accepted(spec.id, with_left(windows, rest))
        case b"repeat":
            return Accepted(rest[0].decode())
        case b"unknown":
            raise SumsUnknown
        case _:
            raise refusal_of(answer, rest, plan, budgets, spec.created_ms)


def _idempotency_key(spec: JobSpec, idempotency: IdempotencyClaim | None) -> str:
    """Return where the claim is kept; the job's own key, which is not used, where there is none."""
    if idempotency is None:
        return keys.job(spec.id)
    return keys.idempotency(spec.user_id, idempotency.digest)
