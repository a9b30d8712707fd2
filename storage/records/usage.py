"""What users used a day, in MongoDB: a document for each user and day (UTC) with ended jobs.

A document is `stale` until its sums are those of the day's jobs. The writer of records makes it so
whenever an end is recorded; upkeep sums the day up when it is over, and again where a late end or
a rating made it stale again. Until then its jobs are summed up when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from pymongo import UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError

from core.ids import ALL_USERS
from core.jobs import TERMINAL, Job, JobSpec, JobStatus
from core.outcome import Outcome
from core.usage import Usage, usage_of
from storage.failures import store_errors
from storage.records.feedback import FeedbackRecords

if TYPE_CHECKING:
    from pymongo.database import Database

#: How long after its end a day is summed up: clocks of several machines differ.
_GRACE: Final = timedelta(minutes=10)
_AT_ONCE: Final = 500
#: Of a job what is summed up: no text.
_SUMMED: Final = {
    "user_id": 1,
    "status": 1,
    "spec": 1,
    "started_ms": 1,
    "finished_ms": 1,
    "outcome.usage": 1,
    "outcome.cost_micros": 1,
    "outcome.savings": 1,
    "outcome.timing_ms": 1,
    "outcome.cache": 1,
    **{
        f"outcome.{part}.{name}": 1
        for part in ("agents", "synthesis")
        for name in ("name", "status", "tier", "model", "reason", "usage", "cost_micros")
    },
}


class UserDay(Struct, frozen=True, order=True):
    """A user's day (UTC)."""

    user_id: str
    day: date

    @property
    def key(self) -> str:
        return f"{self.user_id}/{self.day:%Y%m%d}"


class Spender(Struct, frozen=True):
    """What a user's jobs cost."""

    user_id: str
    jobs: int
    cost_micros: int


class UsageRecords:
    """The collection; every method raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._days = database.get_collection("usage_daily", write_concern=WriteConcern("majority"))
        self._jobs = database["jobs"]
        self._ledger = database["ledger"]
        self._feedback = FeedbackRecords(database)
        #: Days that this process has made stale and that nobody sums up before they are over.
        self._marked: set[UserDay] = set()

    def mark(self, days: Iterable[UserDay]) -> None:
        """Let the sums of these days be made anew; called when what they sum up is written."""
        today = datetime.now(UTC).date()
        self._marked = {one for one in self._marked if one.day >= today}
        of_users = set(days)
        wanted = sorted(
            (of_users | {UserDay(ALL_USERS, one.day) for one in of_users}) - self._marked
        )
        if not wanted:
            return
        changes = [
            UpdateOne(
                {"_id": one.key},
                {
                    "$set": {"user_id": one.user_id, "day": f"{one.day:%Y%m%d}", "stale": True},
                    "$inc": {"changes": 1},
                },
                upsert=True,
            )
            for one in wanted
        ]
        with store_errors():
            try:
                self._days.bulk_write(changes, ordered=False)
            except BulkWriteError:
                # Another process has made the same document in between.
                self._days.bulk_write(changes, ordered=False)
        self._marked |= {one for one in wanted if one.day >= today}

    def sum_up(self, *, limit: int) -> int:
        """Sum up days that are over and stale, the oldest first; return how many were tried.

        A repeat changes nothing. What is recorded meanwhile makes the day stale again.
        """
        over = (datetime.now(UTC) - _GRACE).date()
        with store_errors():
            stale = self._days.find({"stale": True, "day": {"$lt": f"{over:%Y%m%d}"}})
            found = list(stale.sort([("day", 1)]).limit(limit))
        # All users' days come behind those that they are made of.
        found.sort(key=lambda document: document["user_id"] == ALL_USERS)
        users = [document for document in found if document["user_id"] != ALL_USERS]
        tried = users if users and len(found) == limit else found
        for document in tried:
            one = _to_user_day(document)
            usage = msgspec.to_builtins(self._usage(document), str_keys=True)
            with store_errors():
                self._days.update_one(
                    {"_id": one.key, "changes": document["changes"]},
                    {"$set": {"usage": usage, "stale": False}},
                )
        return len(tried)

    def of_user(self, user_id: str, first: date, last: date) -> dict[date, Usage]:
        """Return a user's sums by day, of days with ended jobs alone."""
        chosen = {"user_id": user_id, "day": {"$gte": f"{first:%Y%m%d}", "$lte": f"{last:%Y%m%d}"}}
        with store_errors():
            found = list(self._days.find(chosen).sort([("day", 1)]))
        return {_to_user_day(one).day: self._usage(one) for one in found}

    def of_all(self, first: date, last: date) -> dict[date, Usage]:
        """Return the sums of all users by day, of days with ended jobs alone."""
        now = datetime.now(UTC)
        # Days that upkeep does not sum up yet.
        going_on = (now - _GRACE).date()
        sums = self.of_user(ALL_USERS, first, min(last, going_on - timedelta(days=1)))
        for day in sorted({going_on, now.date()}):
            if first <= day <= last:
                live = self.of_all_live(day)
                sums |= {day: live} if live.total.jobs else {}
        return sums

    def top_spenders(self, first: date, last: date, *, limit: int) -> list[Spender]:
        """Return the users whose jobs of these days cost most, by the ledger."""
        days = {"$gte": f"{first:%Y%m%d}", "$lte": f"{last:%Y%m%d}"}
        sums = {"_id": "$user_id", "jobs": {"$sum": 1}, "micros": {"$sum": "$cost_micros"}}
        with store_errors():
            found = self._ledger.aggregate(
                [
                    {"$match": {"day": days}},
                    {"$group": sums},
                    {"$sort": {"micros": -1, "_id": 1}},
                    {"$limit": limit},
                ]
            )
            return [Spender(row["_id"], int(row["jobs"]), int(row["micros"])) for row in found]

    def _usage(self, document: dict[str, Any]) -> Usage:
        if document["stale"]:
            one = _to_user_day(document)
            return self.of_all_users(one.day) if one.user_id == ALL_USERS else self._live(one)
        return msgspec.convert(document["usage"], Usage, strict=False)

    def _live(self, one: UserDay) -> Usage:
        chosen = {"user_id": one.user_id, "created_at": _span(one.day)}
        with store_errors():
            documents = self._jobs.find(chosen, _SUMMED).batch_size(_AT_ONCE)
            return usage_of(self._with_feedback(one.user_id, documents))

    def of_all_users(self, day: date) -> Usage:
        """Add up what each user's day came to."""
        sums = Usage()
        with store_errors():
            found = self._days.find({"day": f"{day:%Y%m%d}"}).batch_size(_AT_ONCE)
            for document in found:
                if document["user_id"] != ALL_USERS:
                    sums.add(self._usage(document))
        return sums

    def of_all_live(self, day: date) -> Usage:
        """Sum up a day of all users now, without ratings."""
        span, sums = _span(day), Usage()
        for status in TERMINAL:
            with store_errors():
                chosen = {"status": status.value, "created_at": span}
                sums.add(usage_of(_to_job(one) for one in self._jobs.find(chosen, _SUMMED)))
        return sums

    def _with_feedback(self, user_id: str, documents: Iterable[dict[str, Any]]) -> Iterator[Job]:
        page: list[Job] = []
        for document in documents:
            page.append(_to_job(document))
            if len(page) == _AT_ONCE:
                yield from self._rated(user_id, page)
                page = []
        yield from self._rated(user_id, page)

    def _rated(self, user_id: str, jobs: list[Job]) -> Iterator[Job]:
        ratings = self._feedback.of_jobs(user_id, [job.id for job in jobs if job.is_terminal])
        for job in jobs:
            yield msgspec.structs.replace(job, feedback=ratings.get(job.id))


def day_of(job: Job) -> UserDay:
    """Return the day on which a job counts: that of its submission, as in the ledger."""
    at = datetime.fromtimestamp(job.spec.created_ms / 1000, UTC)
    return UserDay(job.spec.user_id, at.date())


def _span(day: date) -> dict[str, datetime]:
    begin = datetime.combine(day, datetime.min.time(), UTC)
    # Times have milliseconds. The embedded server leaves out what is equal to a `$gte` in a
    # descending index.
    return {"$gt": begin - timedelta(milliseconds=1), "$lt": begin + timedelta(days=1)}


def _to_user_day(document: dict[str, Any]) -> UserDay:
    day = datetime.strptime(document["day"], "%Y%m%d").replace(tzinfo=UTC)
    return UserDay(document["user_id"], day.date())


def _to_job(document: dict[str, Any]) -> Job:
    outcome = document.get("outcome")
    return Job(
        spec=msgspec.convert(document["spec"], JobSpec),
        status=JobStatus(document["status"]),
        started_ms=document["started_ms"],
        finished_ms=document["finished_ms"],
        outcome=msgspec.convert(outcome, Outcome) if outcome else None,
    )
