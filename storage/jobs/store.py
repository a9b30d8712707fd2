"""Live jobs as the web uses them: take one in, look at it, ask for its end.

Every change is one Lua script, so it happens wholly or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core import events
from core.errors import BudgetExhausted, Draining, IdempotencyConflict, JobUnreadable, TooManyJobs
from core.ids import shard_of
from core.jobs import TERMINAL, Job, JobSpec, JobStatus, Question
from core.outcome import Outcome
from core.plans import Plan
from core.timing import iso_time
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs import fields
from storage.jobs.bounds import bounded
from storage.jobs.fields import UnreadableEnd
from storage.jobs.script_values import encode, now_iso, to_data, to_line, to_open_data, to_pairs
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

    from core.events import NewEvent

#: How long after an accept the sweeper looks for its record, in milliseconds.
_RECORD_WITHIN_MS: Final = 10_000
_IDEMPOTENCY_TTL_S: Final = 24 * 3600


class IdempotencyClaim(Struct, frozen=True):
    """A client's Idempotency-Key: `digest` stands for the key, `body_hash` for the request."""

    digest: str
    body_hash: str


class Restored(StrEnum):
    """What came of bringing a job back."""

    RESTORED = "restored"
    #: Redis had it after all.
    PRESENT = "present"
    #: It was given up before its 202; its record has to go.
    WITHDRAWN = "withdrawn"


class JobStore:
    """The job scripts that the web uses; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._accept = Script(redis, "accept", behind=WITH_LINES)
        self._accept_answered = Script(redis, "accept_answered")
        self._withdraw = Script(redis, "withdraw", behind=WITH_LINES)
        self._cancel = Script(redis, "cancel")
        self._restore = Script(redis, "restore", behind=WITH_LINES)

    def require_room(self, user_id: str, plan: Plan, idempotency: IdempotencyClaim | None) -> None:
        """Refuse early what `accept`, which decides, would refuse whatever the question is.

        A repeat of an Idempotency-Key passes: it is answered with the first job.

        Raises:
            TooManyJobs: as many of the user's jobs are unfinished as the plan allows.
        """
        with coordinator_errors():
            unfinished: Any = self._redis.zcard(keys.active(user_id))
            if unfinished < plan.unfinished:
                return
            claim = idempotency and keys.idempotency(user_id, idempotency.digest)
            if claim and self._redis.exists(claim):
                return
        raise _too_many(plan)

    def accept(
        self,
        spec: JobSpec,
        question: Question,
        plan: Plan,
        idempotency: IdempotencyClaim | None,
    ) -> str:
        """Take a job in and return its id; a repeat of an Idempotency-Key returns the first job's.

        Reserves `spec.reserved_micros` of the user's month and counts the job as unfinished.

        Raises:
            TooManyJobs, BudgetExhausted: the plan has no room for it.
            IdempotencyConflict: the key was used with another body.
        """
        arguments = [
            spec.id,
            encode(spec),
            encode(question),
            iso_time(spec.created_ms),
            spec.reserved_micros,
            plan.monthly_budget_micros,
            plan.unfinished,
            _RECORD_WITHIN_MS,
            idempotency.body_hash if idempotency else "",
            _IDEMPOTENCY_TTL_S,
            to_data(events.job_queued(spec.mode)),
            *_to_wait(spec),
        ]
        answer, *rest = self._accept.run(_spec_keys(spec, idempotency), arguments)
        match answer:
            case b"accepted":
                return spec.id
            case b"repeat":
                return str(rest[0].decode())
            case b"conflict":
                raise IdempotencyConflict
            case b"draining":
                raise Draining
            case b"too_many":
                raise _too_many(plan)
            case _:
                raise BudgetExhausted

    def accept_answered(
        self, job: Job, log: Sequence[NewEvent], idempotency: IdempotencyClaim | None
    ) -> str:
        """Take in a job that has completed already; returns an id as `accept` does.

        It used nothing, reserves nothing and never counts as unfinished. Nothing is published:
        nobody can know of the job yet.

        Args:
            job: with its question and its outcome.
            log: all its events; the last is from `core.events.job_ended`.

        Raises:
            IdempotencyConflict: the key was used with another body.
        """
        spec, outcome = job.spec, bounded(job.outcome or Outcome())
        key_names = [
            keys.job(spec.id),
            keys.events(spec.id),
            keys.records(shard_of(spec.id)),
            _idempotency_key(spec, idempotency),
        ]
        arguments = [
            spec.id,
            encode(spec),
            encode(job.question),
            iso_time(spec.created_ms),
            encode(fields.without_totals(outcome)),
            idempotency.body_hash if idempotency else "",
            _IDEMPOTENCY_TTL_S,
            job.started_ms,
            job.finished_ms,
            *to_pairs(log[:-1]),
            log[-1].type,
            to_open_data(log[-1]),
        ]
        answer, *rest = self._accept_answered.run(key_names, arguments)
        if answer == b"conflict":
            raise IdempotencyConflict
        if answer == b"draining":
            raise Draining
        return spec.id if answer == b"accepted" else str(rest[0].decode())

    def withdraw(self, spec: JobSpec, idempotency: IdempotencyClaim | None = None) -> bool:
        """Forget a job that has no durable record; False once a worker has begun it."""
        return bool(self._withdraw.run(_spec_keys(spec, idempotency), [spec.id]))

    def get(self, job_id: str) -> Job | None:
        """Return the job without its question, None when Redis does not (or no longer) have it.

        Raises:
            JobUnreadable: this version cannot read it.
        """
        with coordinator_errors():
            values: Any = self._redis.hmget(keys.job(job_id), fields.JOB)
        return fields.to_job(dict(zip(fields.JOB, values, strict=True)))

    def has_ended(self, job_id: str) -> bool:
        """Say whether the job has ended; False where Redis does not (or no longer) have it."""
        with coordinator_errors():
            status: Any = self._redis.hget(keys.job(job_id), "status")
        return status is not None and status.decode() in TERMINAL

    def get_many(self, job_ids: Iterable[str]) -> list[Job | None]:
        """Return each job as `get` does, in one round trip; None for one that cannot be read."""
        found = self._read(job_ids, fields.JOB)
        return [None if isinstance(job, UnreadableEnd) else job for job in found]

    def get_whole(self, job_ids: Iterable[str]) -> list[Job | UnreadableEnd | None]:
        """Return each job with its question, in one round trip; only a job's record needs that.

        Of one that this version cannot read there is what its record needs to end.
        """
        return self._read(job_ids, fields.WHOLE_JOB)

    def question(self, job_id: str) -> Question | None:
        """Return what the job asks, None when Redis does not (or no longer) have it."""
        with coordinator_errors():
            values: Any = self._redis.hmget(keys.job(job_id), fields.QUESTION)
        question, spec = values
        return None if spec is None else fields.to_question(question, spec)

    def request_cancel(self, job_id: str) -> JobStatus | None:
        """Mark the job to be cancelled, nudge its worker and return its status; None if unknown.

        A repeat, or a job that has ended, changes nothing.
        """
        status = self._cancel.run(keys.of_script(job_id), [job_id, keys.CANCEL_CHANNEL])
        return None if status is None else JobStatus(status.decode())

    def restore(self, spec: JobSpec, question: Question) -> Restored:
        """Bring back a job that Redis lost, into its line; a repeat changes nothing."""
        return self.restore_many([(spec, question)])[0]

    def restore_many(self, lost: Sequence[tuple[JobSpec, Question]]) -> list[Restored]:
        """Bring jobs back as `restore` does, in one round trip."""
        answers = self._restore.run_many(
            [
                (
                    _spec_keys(spec, None)[:4],
                    [
                        spec.id,
                        encode(spec),
                        encode(question),
                        now_iso(),
                        spec.reserved_micros,
                        to_data(events.job_queued(spec.mode, restored=True)),
                        *_to_wait(spec),
                        spec.run_at_ms or 0,
                        spec.created_ms,
                    ],
                )
                for spec, question in lost
            ]
        )
        return [Restored(answer.decode()) for answer in answers]

    def _read(
        self, job_ids: Iterable[str], names: Sequence[str]
    ) -> list[Job | UnreadableEnd | None]:
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(keys.job(job_id), names)
            rows = pipe.execute()
        return [_to_job_or_end(dict(zip(names, row, strict=True))) for row in rows]


def _to_job_or_end(values: dict[str, bytes | None]) -> Job | UnreadableEnd | None:
    try:
        return fields.to_job(values)
    except JobUnreadable as error:
        return fields.to_unreadable_end(values, error.message)


def _to_wait(spec: JobSpec) -> list[Any]:
    """Return what the scripts keep of how the job waits: its line, its time, its expiry."""
    expires_at_ms = "" if spec.expires_at_ms is None else spec.expires_at_ms
    return [to_line(spec), spec.allowed_ms, expires_at_ms]


def _too_many(plan: Plan) -> TooManyJobs:
    return TooManyJobs(
        f"{plan.unfinished} of your jobs are unfinished, which is all that the "
        f"plan {plan.name} allows; wait for one to end."
    )


def _spec_keys(spec: JobSpec, idempotency: IdempotencyClaim | None) -> list[str]:
    return [
        keys.job(spec.id),
        keys.events(spec.id),
        keys.active(spec.user_id),
        keys.spend(spec.user_id, spec.created_ms),
        _idempotency_key(spec, idempotency),
    ]


def _idempotency_key(spec: JobSpec, idempotency: IdempotencyClaim | None) -> str:
    """Return where the claim is kept; the job's own key, which is not used, where there is none."""
    if idempotency is None:
        return keys.job(spec.id)
    return keys.idempotency(spec.user_id, idempotency.digest)
