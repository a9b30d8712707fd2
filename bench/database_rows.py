"""Fills a database with jobs, and with what hangs on them, as the product writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bench.queries import CONVERSATION, Sample
from core.bulk import new_action_id
from core.chat import Usage
from core.ids import new_job_id, new_user_id
from core.jobs import Job, JobSpec, JobStatus, Question
from core.outcome import WORKER_LOST, AgentReport, Answer, JobError, Outcome, Route
from core.timing import now_ms
from core.webhooks import message_id
from storage.records.documents import to_document
from storage.records.ledger import to_settlement
from storage.records.usage import UsageRecords, UserDay

if TYPE_CHECKING:
    from pymongo.database import Database

    Row = dict[str, Any]

_JOBS_PER_USER: Final = 200
#: The jobs of a database are spread over so long, evenly.
_SPAN_MS: Final = 60 * 24 * 3600 * 1000
_AT_ONCE: Final = 1_000
_RESET_TOKEN: Final = "reset"
_QUESTION: Final = "How do I build a scalable web app that " + "does what its users want? " * 12
_ANSWER: Final = "Begin with one service and one database, and measure. " * 20
_USAGE: Final = Usage(input_tokens=120, cached_input_tokens=0, output_tokens=260)


def fill(database: Database[Row], count: int) -> Sample:
    """Insert so many jobs with their settlements and users; return what to ask for.

    The users' jobs are of all ages. Of a thousand jobs two have not ended, and one is a dead
    letter.
    """
    users = [new_user_id() for _ in range(max(5, count // _JOBS_PER_USER))]
    begin_ms, now = now_ms() - _SPAN_MS, datetime.now(UTC)
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(count, first + _AT_ONCE))
        jobs = [_job(users[n % len(users)], n, begin_ms + n * _SPAN_MS // count) for n in numbers]
        database["jobs"].insert_many([to_document(job) for job in jobs], ordered=False)
        ended = [to_settlement(job) for job in jobs if job.is_terminal]
        database["ledger"].insert_many(ended, ordered=False)
    for name, rows in _of_users(users).items():
        database[name].insert_many(rows, ordered=False)
    usage = UsageRecords(database)
    for user in users:
        usage.mark(UserDay(user, (now - timedelta(days=n)).date()) for n in range(3))
    return _sample(database, users, begin_ms + _SPAN_MS * 3 // 4)


def one_job(user_id: str, created_ms: int, status: JobStatus = JobStatus.COMPLETED) -> Job:
    """Return a job with an answer of ordinary length, or one that has not ended."""
    spec = JobSpec(
        id=new_job_id(user_id),
        user_id=user_id,
        mode="optimized",
        created_ms=created_ms,
        allowed_ms=120_000,
        plan="enterprise",
        max_tokens=1_000,
        reserved_micros=50,
    )
    question = Question(_QUESTION)
    if status == JobStatus.QUEUED:
        return Job(spec=spec, status=status, question=question)
    outcome = _outcome(status)
    finished_ms = created_ms + 1_500
    return Job(
        spec=spec, status=status, finished_ms=finished_ms, outcome=outcome, question=question
    )


def _job(user_id: str, number: int, created_ms: int) -> Job:
    match number % 1_000:
        case 3 | 503:
            return one_job(user_id, created_ms, JobStatus.QUEUED)
        case 7:
            return one_job(user_id, created_ms, JobStatus.FAILED)
        case _:
            return one_job(user_id, created_ms)


def _outcome(status: JobStatus) -> Outcome:
    if status == JobStatus.FAILED:
        return Outcome(error=JobError(WORKER_LOST, "Its worker was lost."))
    report = AgentReport(
        name="dev", status="completed", tier="quick", model="m", reason="easy", usage=_USAGE
    )
    return Outcome(
        answer=Answer(text=_ANSWER, finish_reason="stop", agents=("dev",)),
        agents=(report,),
        usage=_USAGE,
        cost_micros=31,
        route=Route(tier="quick", model="m", reason="easy", score=0.2),
    )


def _of_users(users: list[str]) -> dict[str, list[Row]]:
    """Return for each collection what the users have there."""
    now = datetime.now(UTC)
    rows: dict[str, list[Row]] = {"users": list(_accounts(users, now))}
    rows["refresh_families"] = [
        {
            "_id": hashlib.md5(f"{user}{n}".encode(), usedforsecurity=False).hexdigest(),
            "user_id": user,
            "token_hash": "0" * 64,
            "created_at": now,
            "used_at": now,
            "expires_at": now + timedelta(days=n + 1),
        }
        for user in users
        for n in range(3)
    ]
    rows["audit"] = [
        {
            "_id": f"aud_{number:032x}",
            "at": now,
            "actor": "operator",
            "act": "plan.set",
            "user_id": user,
            "before": "trial",
            "after": "pro",
            "request_id": "",
        }
        for number, user in enumerate(users)
    ]
    rows["conversations"] = [
        {
            "_id": f"{user}/{name}",
            "user_id": user,
            "name": name,
            "title": "A plan for the week",
            "titled_by": "question",
            "words": ["a", "plan", "for", "the", "week"],
            "created_at": now,
            "updated_at": now - timedelta(days=n),
        }
        for user in users
        for n, name in enumerate((CONVERSATION, "other", "third"))
    ]
    rows["bulk_actions"] = [
        {
            "_id": new_action_id(),
            "user_id": user,
            "kind": "retry",
            "filter": {"status": "failed"},
            "status": "running" if number == 0 else "completed",
            "created_at": now - timedelta(hours=number),
            "due_at": now if number == 0 else None,
            "done": 5,
            "skipped": 0,
            "refused": {},
        }
        for user in users
        for number in range(5)
    ]
    rows["webhook_deliveries"] = list(_deliveries(users, now))
    rows["alerts"] = [{"_id": f"kind-{n}", "last": now, "count": 1} for n in range(5)]
    rows["set_aside"] = [
        {"_id": new_job_id(user), "user_id": user, "at": now, "error": "WriteError 1"}
        for user in users[:50]
    ]
    return rows


def _deliveries(users: list[str], now: datetime) -> Iterator[Row]:
    """Yield ten deliveries of each user, one of which is due and one dead."""
    for user in users:
        for number in range(10):
            job_id, at = new_job_id(user), now - timedelta(hours=number + 1)
            status = {0: "pending", 1: "dead"}.get(number, "delivered")
            yield {
                "_id": message_id(job_id),
                "user_id": user,
                "job_id": job_id,
                "url": "https://hooks.example.com/aether",
                "type": "job.completed",
                "status": status,
                "attempts": 1,
                "created_at": at,
                "since": at,
                "due_at": at if status == "pending" else None,
            }


def _accounts(users: list[str], now: datetime) -> Iterator[Row]:
    for number, user in enumerate(users):
        row: Row = {
            "_id": user,
            "name": "Ann",
            "email": f"user-{number}@example.com",
            "password_hash": "none",
            "plan": "pro",
            "token_version": 0,
            "created_at": now,
        }
        if number == 0:
            row["reset_hash"] = hashlib.sha256(_RESET_TOKEN.encode()).hexdigest()
            row["reset_expires_at"] = now + timedelta(hours=1)
        if number % 50 == 1:
            row["deleting_at"] = now
        yield row


def _sample(database: Database[Row], users: list[str], at_ms: int) -> Sample:
    user_id = users[0]
    found = database["jobs"].find({"user_id": user_id}, {"_id": 1}).limit(20)
    return Sample(
        user_id=user_id,
        key_id="key_" + "0" * 16,
        email="user-0@example.com",
        reset_token=_RESET_TOKEN,
        job_ids=tuple(row["_id"] for row in found),
        at_ms=at_ms,
    )
