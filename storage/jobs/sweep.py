"""What the sweeper does to jobs that nobody works on: look, take over, put back."""

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
from storage.jobs.attempts import Claim, to_spent
from storage.jobs.store import REDISPATCH_MS, to_job
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

_JOB_FIELDS = (
    "spec",
    "status",
    "attempt",
    "seq",
    "started",
    "finished",
    "outcome",
    "cancel",
    "slots",
)
#: What is known of whoever works: on the whole job, or on the slot that they stand for.
_WORK_FIELDS = ("lease", "attempt", "state", "deadline")


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

    def _look(self, entries: Sequence[str]) -> list[DueJob]:
        if not entries:
            return []
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                job_id, _, slot = entry.partition("/")
                prefix = f"{slot}:" if slot else ""
                names = [prefix + name for name in _WORK_FIELDS]
                pipe.hmget(keys.job(job_id), [*_JOB_FIELDS, *names])
            rows = pipe.execute()
        return [_to_due(entry, row) for entry, row in zip(entries, rows, strict=True)]

    def seize(self, job: Job) -> Claim | None:
        """Take over a job that no live worker holds, so as to end it; None if one holds it."""
        fence = secrets.token_hex(8)
        used = self._seize.run(keys.of_script(job.id), [job.id, fence, self._lease_ms])
        if used is None:
            return None
        return Claim(
            spec=job.spec,
            fence=fence,
            attempt=job.attempt,
            accepted_ms=job.spec.created_ms,
            spent=to_spent(used),
        )

    def release(self, job_id: str, slot: Slot | None = None) -> bool:
        """Put the job, or the slot, back in the queue and look again in 10 s.

        Returns:
            True when it wants publishing.
        """
        arguments = [job_id, slot.name if slot else "", REDISPATCH_MS]
        return bool(self._release.run(keys.of_script(job_id), arguments))

    def forget(self, due: DueJob) -> None:
        """Drop an index entry that stands for nothing."""
        with coordinator_errors():
            self._redis.zrem(keys.dispatch(due.job_id), due.entry)


def _to_due(entry: str, row: Sequence[bytes | None]) -> DueJob:
    job_id, _, slot = entry.partition("/")
    fields: dict[str, Any] = dict(zip(_JOB_FIELDS, row[: len(_JOB_FIELDS)], strict=True))
    work: dict[str, Any] = dict(zip(_WORK_FIELDS, row[len(_JOB_FIELDS) :], strict=True))
    return DueJob(
        job_id=job_id,
        job=to_job(fields),
        slot=parse_slot(slot) if slot else None,
        lease_until_ms=int(work["lease"] or 0),
        attempt=int(work["attempt"] or 0),
        is_done=bool(slot) and work["state"] == b"done",
        has_team=fields["slots"] is not None,
        slot_deadline_ms=int(work["deadline"] or 0),
        cancel_requested=fields["cancel"] is not None,
    )
