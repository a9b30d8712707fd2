"""What the sweeper does with jobs that nobody works on: look, take over, put back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from core.ids import SHARDS
from core.jobs import Job
from core.team import Slot, parse_slot
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs import fields
from storage.jobs.attempts import Claim
from storage.jobs.store import REDISPATCH_MS
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis


class DueJob(Struct, frozen=True, kw_only=True):
    """A job, or one slot of a team's job, that is due for a look.

    Attributes:
        job: None when only the index entry is left.
        slot: None for the job itself.
        attempt: how often the job, or the slot, was begun.
        is_done: the slot has its reply.
        has_team: the job is its slots' now.
        slot_deadline_ms: when the slot's agent is to be cut; 0 where there is none.
    """

    job_id: str
    job: Job | None
    slot: Slot | None = None
    lease_until_ms: int = 0
    attempt: int = 0
    is_done: bool = False
    has_team: bool = False
    slot_deadline_ms: int = 0
    cancel_requested: bool = False

    @property
    def entry(self) -> str:
        """What it is called in the dispatch index."""
        return f"{self.job_id}/{self.slot.name}" if self.slot else self.job_id


class Sweep:
    """The job scripts that the sweeper uses; every step may be repeated by anyone at any time."""

    def __init__(self, redis: Redis, *, lease_s: int) -> None:
        self._redis = redis
        self._lease_ms = lease_s * 1000
        self._take_over = Script(redis, "take_over")
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

    def _look(self, entries: Sequence[str]) -> list[DueJob]:
        if not entries:
            return []
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                job_id, _, slot = entry.partition("/")
                names = [fields.of_slot(slot, name) for name in fields.WORK]
                pipe.hmget(keys.job(job_id), [*fields.SWEPT, *names])
            rows = pipe.execute()
        return [_to_due(entry, row) for entry, row in zip(entries, rows, strict=True)]

    def take_over(self, job: Job) -> Claim | None:
        """Take a job that no live worker holds, so as to end it; None if one holds it."""
        fence = secrets.token_hex(8)
        found = self._take_over.run(keys.of_script(job.id), [job.id, fence, self._lease_ms])
        if found is None:
            return None
        spec, question = found
        return Claim(
            spec=job.spec,
            question=fields.to_question(question, spec),
            fence=fence,
            attempt=job.attempt,
            accepted_ms=job.spec.created_ms,
        )

    def release(self, job_id: str, slot: Slot | None = None) -> bool:
        """Put the job, or the slot, back in the queue and look again in 10 s.

        Returns:
            True when it has to be published.
        """
        arguments = [job_id, slot.name if slot else "", REDISPATCH_MS]
        return bool(self._release.run(keys.of_script(job_id), arguments))

    def forget(self, due: DueJob) -> None:
        """Drop an index entry that stands for nothing."""
        with coordinator_errors():
            self._redis.zrem(keys.dispatch(due.job_id), due.entry)


def _to_due(entry: str, row: Sequence[bytes | None]) -> DueJob:
    job_id, _, slot = entry.partition("/")
    count = len(fields.SWEPT)
    swept = dict(zip(fields.SWEPT, row[:count], strict=True))
    work: dict[str, Any] = dict(zip(fields.WORK, row[count:], strict=True))
    return DueJob(
        job_id=job_id,
        job=fields.to_job(swept),
        slot=parse_slot(slot) if slot else None,
        lease_until_ms=int(work["lease"] or 0),
        attempt=int(work["attempt"] or 0),
        is_done=bool(slot) and work["state"] == b"done",
        has_team=swept["slots"] is not None,
        slot_deadline_ms=int(work["deadline"] or 0),
        cancel_requested=swept["cancel"] is not None,
    )
