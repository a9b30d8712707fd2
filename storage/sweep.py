"""What the sweeper does to jobs that nobody works on: look, take over, put back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from core.job import SHARDS, Job
from storage import keys
from storage.attempts import Claim
from storage.failures import coordinator_errors
from storage.job_store import REDISPATCH_MS, to_job
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

_FIELDS = ("spec", "status", "attempt", "seq", "started", "finished", "outcome", "lease", "cancel")


class DueJob(Struct, frozen=True, kw_only=True):
    """A job that is due for a look; `job` is None when only its index entry is left."""

    job_id: str
    job: Job | None
    lease_until_ms: int | None
    cancel_requested: bool


class Sweep:
    """The sweeper's face of the job scripts; every step may be repeated by anyone at any time."""

    def __init__(self, redis: Redis, *, lease_s: int) -> None:
        self._redis = redis
        self._lease_ms = lease_s * 1000
        self._seize = Script(redis, "seize")
        self._release = Script(redis, "release")

    def try_lock(self, hold_s: float) -> bool:
        """Be the only sweeper for `hold_s`, or return False."""
        with coordinator_errors():
            return bool(self._redis.set(keys.SWEEP_LOCK, "1", nx=True, px=int(hold_s * 1000)))

    def due(self, now_ms: int, *, per_shard: int) -> list[DueJob]:
        """Return the jobs whose time for a look has come, at most `per_shard` of each shard."""
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for shard in SHARDS:
                pipe.zrangebyscore(keys.dispatch_of_shard(shard), 0, now_ms, start=0, num=per_shard)
            found = [raw.decode() for rows in pipe.execute() for raw in rows]
        return self._look(found)

    def _look(self, job_ids: Sequence[str]) -> list[DueJob]:
        if not job_ids:
            return []
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(keys.job(job_id), _FIELDS)
            rows = pipe.execute()
        return [_to_due(job_id, row) for job_id, row in zip(job_ids, rows, strict=True)]

    def seize(self, job: Job) -> Claim | None:
        """Take over a job that no live worker holds, so as to end it; None if one holds it."""
        fence = secrets.token_hex(8)
        if not self._seize.run(keys.of_script(job.id), [job.id, fence, self._lease_ms]):
            return None
        return Claim(
            spec=job.spec, fence=fence, attempt=job.attempt, accepted_ms=job.spec.created_ms
        )

    def release(self, job_id: str) -> bool:
        """Put the job back in the queue and look again in 10 s; True when it wants publishing."""
        return bool(self._release.run(keys.of_script(job_id), [job_id, REDISPATCH_MS]))

    def forget(self, job_id: str) -> None:
        """Drop an index entry that has no job."""
        with coordinator_errors():
            self._redis.zrem(keys.dispatch(job_id), job_id)


def _to_due(job_id: str, row: Sequence[bytes | None]) -> DueJob:
    fields: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    return DueJob(
        job_id=job_id,
        job=to_job(fields),
        lease_until_ms=int(fields["lease"]) if fields["lease"] else None,
        cancel_requested=fields["cancel"] is not None,
    )
