"""Live jobs as everybody reads them, and the request to end one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import JobUnreadable
from core.jobs import TERMINAL, Job, JobStatus, Question
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs import fields
from storage.jobs.fields import UnreadableEnd
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis


class JobStore:
    """The jobs that Redis has; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._cancel = Script(redis, "cancel")

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
