"""What the sweeper does with jobs that nobody works on: look, take over, put back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec import Struct

from core.errors import JobUnreadable
from core.ids import is_job_id
from core.jobs import Job
from core.team import Slot, parse_slot
from core.timing import now_ms
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs import fields
from storage.jobs.claims import Claim
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis


logger = structlog.get_logger(__name__)

_POSTPONED_MS: Final = 60_000


class DueJob(Struct, frozen=True, kw_only=True):
    """A job, or one slot of a team's job, that is due for a look.

    Attributes:
        job: None when only the index entry is left.
        slot: None for the job itself.
        attempt: how often the job, or the slot, was begun.
        is_done: the slot has its reply.
        has_team: the job is its slots' now.
        deadline_ms: when the job is to end; 0 before it has begun.
        slot_deadline_ms: when the slot's agent is to be cut; 0 where there is none.
        expires_ms: when the job is given up unless it has begun; 0 for never.
        has_place: it stands in its line, or waits for its time.
    """

    job_id: str
    job: Job | None
    slot: Slot | None = None
    lease_until_ms: int = 0
    attempt: int = 0
    is_done: bool = False
    has_team: bool = False
    deadline_ms: int = 0
    slot_deadline_ms: int = 0
    expires_ms: int = 0
    has_place: bool = False
    cancel_requested: bool = False

    @property
    def entry(self) -> str:
        """What indexes and lines call it."""
        return f"{self.job_id}/{self.slot.name}" if self.slot else self.job_id


class Sweep:
    """The job scripts that the sweeper uses; every step may be repeated by anyone at any time."""

    def __init__(self, redis: Redis, *, lease_s: int) -> None:
        self._redis = redis
        self._lease_ms = lease_s * 1000
        self._take_over = Script(redis, "take_over", behind=WITH_LINES)
        self._release = Script(redis, "release", behind=WITH_LINES)

    def try_lock(self, hold_s: float) -> bool:
        """Be the only sweeper for `hold_s`, or return False."""
        with coordinator_errors():
            return bool(self._redis.set(keys.SWEEP_LOCK, "1", nx=True, px=int(hold_s * 1000)))

    def due(self, at_ms: int, *, most: int) -> list[DueJob]:
        """Return the units whose time for a look has come, the earliest first."""
        return self._look(self._first(keys.WATCH, at_ms, most))

    def expired(self, at_ms: int, *, most: int) -> list[DueJob]:
        """Return the jobs that have waited longer than they may, the earliest first."""
        return self._look(self._first(keys.EXPIRING, at_ms, most))

    def _first(self, index: str, at_ms: int, most: int) -> list[str]:
        with coordinator_errors():
            found: Any = self._redis.zrangebyscore(index, 0, at_ms, start=0, num=most)
        return [raw.decode(errors="replace") for raw in found]

    def _look(self, entries: Sequence[str]) -> list[DueJob]:
        """Return what is due; what this version cannot read is left to another one for a while."""
        known = [entry for entry in entries if is_job_id(entry.partition("/")[0])]
        if not known:
            return []
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for entry in known:
                job_id, _, slot = entry.partition("/")
                names = [fields.of_slot(slot, name) for name in fields.WORK]
                pipe.hmget(keys.job(job_id), [*fields.SWEPT, *names])
            rows = pipe.execute()
        found = []
        for entry, row in zip(known, rows, strict=True):
            try:
                found.append(_to_due(entry, row))
            except (JobUnreadable, ValueError, TypeError) as error:
                self.postpone(entry, error)
        return found

    def postpone(self, entry: str, error: Exception) -> None:
        """Look again in a minute at an entry that failed; it must not hold up the others.

        The log gets the error's class alone, since its message may quote what a user wrote.
        """
        logger.error(
            "entry left to another version or a later sweep",
            entry=entry,
            error=type(error).__name__,
        )
        with coordinator_errors():
            for index in (keys.WATCH, keys.EXPIRING):
                self._redis.zadd(index, {entry: now_ms() + _POSTPONED_MS}, xx=True)

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

    def release(self, job_id: str, slot: Slot | None = None) -> tuple[bool, int]:
        """Put the job, or the slot, back into its line after its worker was lost.

        Returns:
            whether it is there now, and how many have to be woken by messages.
        """
        arguments = [job_id, slot.name if slot else ""]
        is_back, unwoken = self._release.run(keys.of_script(job_id), arguments)
        return bool(is_back), unwoken

    def forget(self, due: DueJob) -> None:
        """Drop an index entry that stands for nothing."""
        with coordinator_errors():
            for index in (keys.WATCH, keys.EXPIRING):
                self._redis.zrem(index, due.entry)


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
        deadline_ms=int(swept["deadline"] or 0),
        slot_deadline_ms=int(work["deadline"] or 0) if slot else 0,
        expires_ms=int(swept["expires"] or 0),
        has_place=work["queued"] is not None,
        cancel_requested=swept["cancel"] is not None,
    )
