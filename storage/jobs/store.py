"""Live jobs as the web sees them: take one in, look at it, ask for its end.

Every change is one Lua script, so it happens wholly or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from core.errors import (
    BudgetExhausted,
    IdempotencyConflict,
    TooManyJobs,
)
from core.ids import shard_of
from core.jobs import Job, JobSpec, JobStatus
from core.outcome import Outcome
from core.plans import Plan
from core.timing import iso_time
from storage import keys
from storage.failures import coordinator_errors
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

    from core.events import NewEvent

#: How long the sweeper leaves a freshly published job to the workers, in milliseconds.
REDISPATCH_MS: Final = 10_000
_IDEMPOTENCY_TTL_S: Final = 24 * 3600

_spec_decoder = msgspec.json.Decoder(JobSpec)
_outcome_decoder = msgspec.json.Decoder(Outcome)
_encode = msgspec.json.Encoder().encode

#: The fields of a job's hash that make up a `Job`, in the order `_to_job` takes them.
_FIELDS: Final = ("spec", "status", "attempt", "seq", "started", "finished", "outcome")


class IdempotencyClaim(Struct, frozen=True):
    """A client's Idempotency-Key: `digest` names it, `fingerprint` stands for the request body."""

    digest: str
    fingerprint: str


class Restored(StrEnum):
    """What came of bringing a job back."""

    RESTORED = "restored"
    #: Redis had it after all.
    PRESENT = "present"
    #: It was given up before it became a promise; its record is to go.
    UNDONE = "undone"


class JobStore:
    """The web's face of the job scripts; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._accept = Script(redis, "accept")
        self._born = Script(redis, "born")
        self._undo = Script(redis, "undo")
        self._cancel = Script(redis, "cancel")
        self._restore = Script(redis, "restore")

    def accept(self, spec: JobSpec, plan: Plan, idempotency: IdempotencyClaim | None) -> str:
        """Take a job in and return its id; a repeat of an Idempotency-Key returns the first job's.

        Reserves `spec.reserved_micros` of the user's month and counts the job as active.

        Raises:
            TooManyJobs, BudgetExhausted: the plan has no room for it.
            IdempotencyConflict: the key was used with another body.
        """
        key_names = _spec_keys(spec, idempotency)
        arguments = [
            spec.id,
            _encode(spec),
            iso_time(spec.created_ms),
            spec.reserved_micros,
            plan.monthly_budget_micros,
            plan.concurrent_jobs,
            REDISPATCH_MS,
            idempotency.fingerprint if idempotency else "",
            _IDEMPOTENCY_TTL_S,
            _encode({"mode": spec.mode}),
        ]
        verdict, *rest = self._accept.run(key_names, arguments)
        match verdict:
            case b"accepted":
                return spec.id
            case b"repeat":
                return str(rest[0].decode())
            case b"conflict":
                raise IdempotencyConflict
            case b"too_many":
                raise TooManyJobs(
                    f"{plan.concurrent_jobs} of your jobs are unfinished, which is all that the "
                    f"plan {plan.name} allows; wait for one to end."
                )
            case _:
                raise BudgetExhausted

    def accept_answered(
        self, job: Job, events: Sequence[NewEvent], idempotency: IdempotencyClaim | None
    ) -> str:
        """Take in a job that has completed already; returns an id as `accept` does.

        It reserves nothing and counts nowhere as active. Nothing is published: nobody can know of
        it yet.

        Args:
            events: the whole log.

        Raises:
            IdempotencyConflict: the key was used with another body.
        """
        spec = job.spec
        key_names = [
            keys.job(spec.id),
            keys.events(spec.id),
            keys.records(shard_of(spec.id)),
            _idempotency_key(spec, idempotency),
        ]
        arguments = [
            spec.id,
            _encode(spec),
            iso_time(spec.created_ms),
            _encode(job.outcome),
            idempotency.fingerprint if idempotency else "",
            _IDEMPOTENCY_TTL_S,
            job.started_ms,
            job.finished_ms,
            *(part for event in events for part in (event.type, _encode(event.data))),
        ]
        verdict, *rest = self._born.run(key_names, arguments)
        if verdict == b"conflict":
            raise IdempotencyConflict
        return spec.id if verdict == b"accepted" else str(rest[0].decode())

    def undo(self, spec: JobSpec, idempotency: IdempotencyClaim | None = None) -> bool:
        """Forget a job that has no durable record; False once a worker has claimed it."""
        return bool(self._undo.run(_spec_keys(spec, idempotency), [spec.id]))

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None when Redis does not (or no longer) have it."""
        with coordinator_errors():
            values = self._redis.hmget(keys.job(job_id), _FIELDS)
        return to_job(dict(zip(_FIELDS, values, strict=True)))  # type: ignore[arg-type]

    def get_many(self, job_ids: Iterable[str]) -> list[Job | None]:
        """Return each job as `get` does, in one round trip."""
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(keys.job(job_id), _FIELDS)
            rows = pipe.execute()
        return [to_job(dict(zip(_FIELDS, row, strict=True))) for row in rows]

    def request_cancel(self, job_id: str) -> JobStatus | None:
        """Mark the job to be cancelled, nudge its worker and return its status; None if unknown.

        A repeat, or a job that has ended, changes nothing.
        """
        status = self._cancel.run(keys.of_script(job_id), [job_id, keys.CANCEL_CHANNEL])
        return None if status is None else JobStatus(status.decode())

    def restore(self, spec: JobSpec) -> Restored:
        """Bring back a job that Redis lost, as queued and due; a repeat changes nothing."""
        arguments = [
            spec.id,
            _encode(spec),
            iso_time(int(time.time() * 1000)),
            spec.reserved_micros,
        ]
        return Restored(self._restore.run(_spec_keys(spec, None)[:5], arguments).decode())


def _spec_keys(spec: JobSpec, idempotency: IdempotencyClaim | None) -> list[str]:
    return [
        keys.job(spec.id),
        keys.events(spec.id),
        keys.active(spec.user_id),
        keys.spend(spec.user_id, spec.created_ms),
        keys.dispatch(spec.id),
        _idempotency_key(spec, idempotency),
    ]


def _idempotency_key(spec: JobSpec, idempotency: IdempotencyClaim | None) -> str:
    """Return where the claim is kept; any key of the job's where there is none."""
    if idempotency is None:
        return keys.job(spec.id)
    return keys.idempotency(spec.user_id, idempotency.digest)


def to_job(fields: Mapping[str, bytes | None]) -> Job | None:
    """Build a job from the fields of its hash; None when there is no spec among them."""
    spec, status = fields["spec"], fields["status"]
    if spec is None or status is None:
        return None
    outcome = fields["outcome"]
    return Job(
        spec=_spec_decoder.decode(spec),
        status=JobStatus(status.decode()),
        attempt=int(fields["attempt"] or 0),
        cursor=int(fields["seq"] or 0),
        started_ms=_optional_int(fields["started"]),
        finished_ms=_optional_int(fields["finished"]),
        outcome=None if outcome is None else _outcome_decoder.decode(outcome),
    )


def _optional_int(value: bytes | None) -> int | None:
    return None if value is None else int(value)
