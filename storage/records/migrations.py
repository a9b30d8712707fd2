"""Steps that bring MongoDB's data, indexes and validators to this version; forward only.

Validators are set here alone: a process that starts sets none, so that in a rolling upgrade an
older one never puts its own back. Documents of the version before and of the one after pass them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from core.ids import ALL_USERS, DELETED_USER
from core.jobs import Job
from storage.failures import store_errors
from storage.format import FORMAT, META, format_of, has_data, require_format, set_format
from storage.records.documents import from_document, readable, to_document
from storage.records.indexes import ensure_indexes, ensure_validators
from storage.records.rebuild import count_running, forget_unfinished
from storage.records.usage import UsageRecords, UserDay

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

_MIGRATIONS_ID: Final = "migrations"
#: Of the document that a migration holds while it runs.
LOCK_ID: Final = "lock"
#: A migration that was killed holds the lock no longer.
_LOCK_FOR: Final = timedelta(minutes=10)
#: What stands in the place of a user and has no account.
_NO_USERS: Final = (None, DELETED_USER, ALL_USERS)
_OWNERS_AT_ONCE: Final = 1_000
_DAYS_AT_ONCE: Final = 10_000
_JOBS_AT_ONCE: Final = 500


class CannotMigrate(Exception):
    """The database cannot be brought to this version now; the text says why."""


class Migration(Struct, frozen=True):
    """One step: its number, what it does, and the change itself, which may be repeated."""

    number: int
    title: str
    apply: Callable[[Database[dict[str, Any]]], None]


def _drop_unfinished_index(database: Database[dict[str, Any]]) -> None:
    with store_errors():
        if "unfinished" in database["jobs"].index_information():
            database["jobs"].drop_index("unfinished")


def _order_sessions(database: Database[dict[str, Any]]) -> None:
    with store_errors():
        if "user" in database["refresh_families"].index_information():
            database["refresh_families"].drop_index("user")
    ensure_validators(database)


def _let_upkeep_delete_accounts(database: Database[dict[str, Any]]) -> None:
    """Stop MongoDB from removing demo users by itself, and mark those whose jobs it left behind."""
    with store_errors():
        if "expiry" in database["users"].index_information():
            database["users"].drop_index("expiry")
    ensure_validators(database)
    mark_ownerless(database, "jobs")


def mark_ownerless(database: Database[dict[str, Any]], collection: str) -> None:
    """Let upkeep delete what a collection holds of users that are not there; a repeat is harmless.

    Raises:
        StoreUnavailable: MongoDB is away; what was done stays.
    """
    with store_errors():
        rows = database[collection].aggregate([{"$group": {"_id": "$user_id"}}], allowDiskUse=True)
        owners = (row["_id"] for row in rows if row["_id"] not in _NO_USERS)
        while user_ids := list(islice(owners, _OWNERS_AT_ONCE)):
            _mark_missing(database, user_ids)


def _mark_missing(database: Database[dict[str, Any]], user_ids: Sequence[str]) -> None:
    """Add a user who is to be deleted for each id that has none."""
    users = database["users"]
    there = {user["_id"] for user in users.find({"_id": {"$in": list(user_ids)}}, {"_id": 1})}
    now = datetime.now(UTC)
    marks = {"created_at": now, "deleting_at": now, "token_version": 0}
    missing = [
        {"_id": user_id, "name": "", "plan": "trial", **marks}
        for user_id in user_ids
        if user_id not in there
    ]
    if missing:
        users.insert_many(missing)


def _make_all(database: Database[dict[str, Any]]) -> None:
    ensure_indexes(database)
    ensure_validators(database)


def _mark_days(database: Database[dict[str, Any]]) -> None:
    """Have the days of jobs of before summed up."""
    _make_all(database)
    usage = UsageRecords(database)
    with store_errors():
        jobs = database["jobs"].find({}, {"user_id": 1, "created_at": 1})
        days = (UserDay(job["user_id"], job["created_at"].date()) for job in jobs)
        while page := set(islice(days, _DAYS_AT_ONCE)):
            usage.mark(page)


def _tag_jobs(database: Database[dict[str, Any]]) -> None:
    """Have jobs of before found by what they are found by now."""
    _make_all(database)
    jobs = database["jobs"]
    with store_errors():
        found = readable(jobs.find({"tags": {"$exists": False}}), from_document)
        while page := list(islice(found, _JOBS_AT_ONCE)):
            jobs.bulk_write([_tagged(job) for job in page], ordered=False)


def _tagged(job: Job) -> UpdateOne:
    document = to_document(job)
    found_by = {name: document[name] for name in ("tags", "words")}
    # One that ends meanwhile has them.
    return UpdateOne({"_id": job.id, "tags": {"$exists": False}}, {"$set": found_by})


#: In the order of their numbers, which are never used again.
MIGRATIONS: Final = (
    Migration(1, "validators that leave other versions' fields alone", ensure_validators),
    Migration(2, "no index of unfinished jobs by age, which nobody reads", _drop_unfinished_index),
    Migration(3, "roles of users, and the audit log", ensure_validators),
    Migration(4, "indexes of what budgets have paid", ensure_indexes),
    Migration(5, "indexes of the ledger by job, and of reruns", ensure_indexes),
    Migration(6, "sessions by their last use, and links for new passwords", _order_sessions),
    Migration(7, "API keys", ensure_validators),
    Migration(8, "feedback, and accounts that upkeep deletes", _let_upkeep_delete_accounts),
    Migration(9, "conversations", _make_all),
    Migration(10, "what users used a day", _mark_days),
    Migration(11, "webhooks", _make_all),
    Migration(12, "what jobs are found by, and acts on many", _tag_jobs),
    Migration(13, "how long jobs are kept", ensure_indexes),
)


def migrate(redis: Redis, database: Database[dict[str, Any]]) -> list[str]:
    """Carry out what is pending and return a sentence for each step; a repeat does nothing.

    Raises:
        CannotMigrate: another process is at it; the data is of a newer version; or workers hold
            jobs of another format.
        CoordinatorUnavailable, StoreUnavailable: what was done stays, the next call goes on.
    """
    with _locked(database):
        stored = format_of(database)
        if stored is not None and stored > FORMAT:
            raise CannotMigrate(
                f"MongoDB holds format {stored}, of a newer version; this one knows {FORMAT}."
            )
        if stored != FORMAT and (running := count_running(redis, database)):
            raise CannotMigrate(
                f"Workers hold {running} jobs. Let the version that took them end them: "
                "`aether drain` where it has that, or `aether stop`."
            )
        done = []
        for migration in pending(database):
            migration.apply(database)
            _record(database, migration)
            done.append(f"Migration {migration.number}: {migration.title}.")
        ensure_indexes(database)
        if stored != FORMAT:
            waiting = forget_unfinished(redis, database)
            done.append(f"{waiting} unfinished jobs come back from their records at the start.")
            set_format(redis, database)
            done.append(f"Marked as format {FORMAT}.")
    return done


def prepare(redis: Redis, database: Database[dict[str, Any]]) -> list[Migration]:
    """Check the stores' format, set up those that nobody has used, and return what is pending.

    Raises:
        OtherFormat: the stores hold data of another version.
        CoordinatorUnavailable, StoreUnavailable: one of them is away.
    """
    if format_of(database) is None and not has_data(database):
        try:
            migrate(redis, database)
        except CannotMigrate:
            # Another process sets the same stores up.
            return list(MIGRATIONS)
    require_format(redis, database)
    return pending(database)


def pending(database: Database[dict[str, Any]]) -> list[Migration]:
    """Return the migrations that this database has not seen."""
    done = seen_migrations(database)
    return [migration for migration in MIGRATIONS if migration.number not in done]


def seen_migrations(database: Database[dict[str, Any]]) -> set[int]:
    """Return the numbers of the migrations that this database has seen."""
    with store_errors():
        found = database[META].find_one({"_id": _MIGRATIONS_ID}) or {}
    return {int(number) for number in found.get("done", {})}


def _record(database: Database[dict[str, Any]], migration: Migration) -> None:
    change = {"$set": {f"done.{migration.number}": datetime.now(UTC)}}
    with store_errors():
        database[META].update_one({"_id": _MIGRATIONS_ID}, change, upsert=True)


@contextmanager
def _locked(database: Database[dict[str, Any]]) -> Iterator[None]:
    now = datetime.now(UTC)
    lock = {"_id": LOCK_ID, "until": now + _LOCK_FOR}
    with store_errors():
        database[META].delete_one({"_id": LOCK_ID, "until": {"$lt": now}})
        try:
            database[META].insert_one(lock)
        except DuplicateKeyError:
            raise CannotMigrate("Another migration runs; wait for it to end.") from None
    try:
        yield
    finally:
        with store_errors():
            database[META].delete_one({"_id": LOCK_ID})
