"""What is known of a drill's jobs once they should be over: from the API, Redis and MongoDB."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import events
from core.jobs import TERMINAL
from ops.client import ClientError
from ops.drills.load import Load, Tracked, to_unix_s
from ops.drills.target import Target
from storage import keys

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

#: How long the way from a job's end to its record may take, and how often one looks.
_RECORDED_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event; `text` is what an answer's delta adds."""

    sequence: int
    type: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvidence:
    """One accepted job.

    Attributes:
        status: as the API shows it, None when it knows no such job.
        log: the events from the first one on, as the API tells them after the end.
        seen: the numbers that its reader was given while it ran, across reconnects.
        has_snapshot: a whole job stood in for a log that is no longer kept.
        record_status: as MongoDB has it, None without a record.
        left_over: names of the Redis state that should have gone with its end.
    """

    job_id: str
    status: str | None
    attempt: int = 0
    answer: str | None = None
    error_code: str = ""
    accepted_s: float = 0.0
    finished_s: float | None = None
    log: tuple[LogEntry, ...] = ()
    seen: tuple[int, ...] = ()
    has_snapshot: bool = False
    record_status: str | None = None
    settlements: int = 0
    left_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserEvidence:
    """One user's counters in Redis, and what the ledger has of it."""

    user_id: str
    reserved_micros: int
    spent_micros: int
    settled_micros: int
    active: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A whole drill's; `answered_twice` are submissions of which two jobs were answered."""

    jobs: tuple[JobEvidence, ...]
    users: tuple[UserEvidence, ...]
    answered_twice: tuple[str, ...] = ()


def gather(target: Target, load: Load) -> Evidence:
    """Return what there is once every ended job is recorded, or should have been."""
    shown = {job.job_id: _shown(job) for job in load.accepted}
    ended = [job_id for job_id, job in shown.items() if job and job["status"] in TERMINAL]
    with target.database() as database, target.redis() as redis:
        _await_records(database, ended)
        records = database["jobs"].find({"_id": {"$in": list(shown)}}, {"status": 1})
        statuses = {found["_id"]: found["status"] for found in records}
        ledger = list(database["ledger"].find({"user_id": {"$in": [u.id for u in load.users]}}))
        settled = Counter(entry["job_id"] for entry in ledger)
        jobs = tuple(
            _job_evidence(redis, job, shown[job.job_id], statuses, settled) for job in load.accepted
        )
        return Evidence(jobs, _users(redis, load, ledger), _answered_twice(database, load))


def _shown(job: Tracked) -> dict[str, Any] | None:
    deadline = time.monotonic() + _RECORDED_WITHIN_S
    while True:
        try:
            return job.user.find(job.job_id)
        except ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _await_records(database: Database[dict[str, Any]], ended: list[str]) -> None:
    deadline = time.monotonic() + _RECORDED_WITHIN_S
    wanted = {"_id": {"$in": ended}, "status": {"$in": [str(status) for status in TERMINAL]}}
    while time.monotonic() < deadline:
        if database["jobs"].count_documents(wanted) == len(ended):
            return
        time.sleep(_POLL_S)


def _job_evidence(
    redis: Redis,
    job: Tracked,
    shown: dict[str, Any] | None,
    statuses: dict[str, str],
    settled: Counter[str],
) -> JobEvidence:
    if shown is None:
        return JobEvidence(job_id=job.job_id, status=None, record_status=statuses.get(job.job_id))
    log = _log(job) if shown["status"] in TERMINAL else []
    return JobEvidence(
        job_id=job.job_id,
        status=shown["status"],
        attempt=shown["attempt"],
        answer=shown["answer"]["text"] if shown["answer"] else None,
        error_code=shown["error"]["code"] if shown["error"] else "",
        accepted_s=job.accepted_s,
        finished_s=to_unix_s(shown["finished_at"]) if shown["finished_at"] else None,
        log=tuple(entry for entry in log if entry.type != events.JOB_SNAPSHOT),
        seen=tuple(job.seen),
        has_snapshot=job.had_snapshot or any(entry.type == events.JOB_SNAPSHOT for entry in log),
        record_status=statuses.get(job.job_id),
        settlements=settled[job.job_id],
        left_over=_left_over(redis, job.job_id),
    )


def _log(job: Tracked) -> list[LogEntry]:
    found = job.user.stream(job.job_id, after=0)
    return [
        LogEntry(event["sequence"], event["type"], event["data"].get("text", ""))
        for event in found
        if event is not None
    ]


def _left_over(redis: Redis, job_id: str) -> tuple[str, ...]:
    dispatched: Any = redis.zscore(keys.dispatch(job_id), job_id)
    fence, lease = redis.hmget(keys.job(job_id), ("fence", "lease"))
    found = {"dispatch": dispatched, "fence": fence, "lease": lease}
    return tuple(name for name, value in found.items() if value is not None)


def _users(redis: Redis, load: Load, ledger: list[dict[str, Any]]) -> tuple[UserEvidence, ...]:
    found = []
    for user in load.users:
        spend: Any = redis.hgetall(keys.spend(user.id, int(load.began_s * 1000)))
        settled = sum(entry["cost_micros"] for entry in ledger if entry["user_id"] == user.id)
        active: Any = redis.zcard(keys.active(user.id))
        reserved, spent = (int(spend.get(name, 0)) for name in (b"reserved", b"spent"))
        found.append(UserEvidence(user.id, reserved, spent, settled, active))
    return tuple(found)


def _answered_twice(database: Database[dict[str, Any]], load: Load) -> tuple[str, ...]:
    """Return the submissions that became two ended jobs in spite of their Idempotency-Key."""
    wanted = {"user_id": {"$in": [user.id for user in load.users]}, "finished_at": {"$ne": None}}
    records = database["jobs"].find(wanted, {"spec.metadata": 1})
    numbers = Counter(record["spec"]["metadata"]["number"] for record in records)
    return tuple(number for number, count in numbers.items() if count > 1)
