"""The indexes and JSON schemas of MongoDB's collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from msgspec import Struct
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import CollectionInvalid, OperationFailure

from core.comparisons import Verdict
from core.jobs import JobStatus, Rating
from core.outcome import WORKER_LOST
from core.plans import PLANS, ROLES
from core.scopes import SCOPES
from core.words import MOST_WORDS
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

#: What MongoDB answers when another process has just made the collection.
_NAMESPACE_EXISTS: Final = 48


class CollectionPlan(Struct, frozen=True, kw_only=True):
    """A collection's indexes, and the JSON schema that every write to it has to meet, if any."""

    name: str
    indexes: tuple[IndexModel, ...]
    schema: dict[str, Any] | None = None


_TEXT: Final = {"bsonType": "string", "maxLength": 256}
_TIME: Final = {"bsonType": "date"}

_USERS: Final = CollectionPlan(
    name="users",
    indexes=(
        # Demo accounts have no address; a sparse index leaves them out.
        IndexModel([("email", ASCENDING)], name="email", unique=True, sparse=True),
        IndexModel([("reset_hash", ASCENDING)], name="reset", unique=True, sparse=True),
        # The remover's: demo accounts whose time is over, and accounts that are being deleted.
        IndexModel([("expires_at", ASCENDING)], name="expires", sparse=True),
        IndexModel([("deleting_at", ASCENDING)], name="deleting", sparse=True),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "name", "plan", "token_version", "created_at"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
            "name": _TEXT,
            "email": _TEXT,
            "password_hash": _TEXT,
            # Of the one link for a new password.
            "reset_hash": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
            "reset_expires_at": _TIME,
            "plan": {"enum": list(PLANS)},
            "role": {"enum": list(ROLES)},
            "token_version": {"bsonType": ["int", "long"], "minimum": 0},
            "created_at": _TIME,
            "trial_ends_at": _TIME,
            "expires_at": _TIME,
            "deleting_at": _TIME,
            "cache_secret": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
        },
    },
)

_AUDIT: Final = CollectionPlan(
    name="audit",
    # Read whole by _id, which begins with the time.
    indexes=(
        IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user"),
        IndexModel([("actor", ASCENDING)], name="actor"),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "at", "actor", "act", "user_id", "before", "after"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^aud_[0-9a-f]{32}$"},
            "at": _TIME,
            "actor": _TEXT,
            "act": _TEXT,
            "user_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
            "before": _TEXT,
            "after": _TEXT,
            "request_id": _TEXT,
        },
    },
)

_REFRESH_FAMILIES: Final = CollectionPlan(
    name="refresh_families",
    indexes=(
        # The latest used first: each use moves the end.
        IndexModel([("user_id", ASCENDING), ("expires_at", DESCENDING)], name="latest_used"),
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "token_hash", "created_at", "expires_at"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^[0-9a-f]{32}$"},
            "user_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
            "token_hash": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
            "created_at": _TIME,
            "used_at": _TIME,
            "expires_at": _TIME,
            "user_agent": _TEXT,
            "address": _TEXT,
        },
    },
)

_API_KEYS: Final = CollectionPlan(
    name="api_keys",
    indexes=(
        IndexModel([("user_id", ASCENDING), ("created_at", DESCENDING)], name="list"),
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "name", "hint", "secret_hash", "scopes", "created_at"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^key_[0-9a-f]{16}$"},
            "user_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
            "name": _TEXT,
            "hint": _TEXT,
            "secret_hash": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
            "scopes": {"bsonType": "array", "items": {"enum": list(SCOPES)}},
            "plan": {"enum": list(PLANS)},
            "created_at": _TIME,
            "used_at": _TIME,
            "expires_at": _TIME,
        },
    },
)

_JOBS: Final = CollectionPlan(
    name="jobs",
    indexes=(
        IndexModel(
            [("user_id", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)],
            name="list",
        ),
        IndexModel(
            [
                ("user_id", ASCENDING),
                ("status", ASCENDING),
                ("created_at", DESCENDING),
                ("_id", DESCENDING),
            ],
            name="list_by_status",
        ),
        IndexModel(
            [("outcome.error.code", ASCENDING), ("created_at", DESCENDING)],
            name="dead_letters",
            partialFilterExpression={"outcome.error.code": WORKER_LOST},
        ),
        # A conversation's messages in their order; jobs outside of one are left out.
        IndexModel(
            [
                ("user_id", ASCENDING),
                ("spec.conversation_id", ASCENDING),
                ("created_at", ASCENDING),
                ("_id", ASCENDING),
            ],
            name="conversation",
            partialFilterExpression={"spec.conversation_id": {"$exists": True}},
        ),
        # The restoration's: what was accepted and has no recorded end, newest first.
        IndexModel(
            [("status", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)],
            name="unfinished_newest_first",
        ),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "status", "created_at", "spec"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^job_[0-9a-f]{32}$"},
            "user_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
            "status": {"enum": [status.value for status in JobStatus]},
            "created_at": _TIME,
        },
    },
)

_CONVERSATIONS: Final = CollectionPlan(
    name="conversations",
    indexes=(
        IndexModel(
            [("user_id", ASCENDING), ("updated_at", DESCENDING), ("_id", DESCENDING)], name="list"
        ),
        IndexModel([("user_id", ASCENDING), ("words", ASCENDING)], name="words"),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "name", "created_at", "updated_at", "titled_by"],
        "properties": {
            "_id": {"bsonType": "string"},
            "user_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
            "name": {"bsonType": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "title": {"bsonType": ["string", "null"], "maxLength": 800},
            "titled_by": {"bsonType": "string"},
            "words": {"bsonType": "array", "maxItems": MOST_WORDS},
            "created_at": _TIME,
            "updated_at": _TIME,
        },
    },
)

_LEDGER: Final = CollectionPlan(
    name="ledger",
    indexes=(
        IndexModel([("user_id", ASCENDING), ("at", DESCENDING)], name="user"),
        # What budgets have paid.
        IndexModel([("user_id", ASCENDING), ("month", ASCENDING)], name="month_of_user"),
        IndexModel([("month", ASCENDING)], name="month"),
        IndexModel([("day", ASCENDING)], name="day"),
        IndexModel([("job_id", ASCENDING)], name="job"),
        IndexModel(
            [("kind", ASCENDING), ("at", DESCENDING)],
            name="reruns",
            partialFilterExpression={"kind": "rerun_after_loss"},
        ),
    ),
)

#: For how long it is known what was set aside, in seconds.
_SET_ASIDE_KEPT_S: Final = 90 * 24 * 3600
_SET_ASIDE: Final = CollectionPlan(
    name="set_aside",
    indexes=(
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=_SET_ASIDE_KEPT_S),
        IndexModel([("user_id", ASCENDING)], name="user"),
    ),
)

_MICROS: Final = {"bsonType": ["int", "long"], "minimum": 0}
_COMPARED: Final = {
    "user_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
    "tier": _TEXT,
    "model": _TEXT,
    # Grows with every model that had to stand in.
    "reason": {"bsonType": "string"},
    "deep_model": _TEXT,
    "verdict": {"enum": list(get_args(Verdict))},
    "cost_micros": _MICROS,
    "deep_cost_micros": _MICROS,
    "judging_cost_micros": _MICROS,
}
_COMPARISONS: Final = CollectionPlan(
    name="comparisons",
    indexes=(
        IndexModel([("at", DESCENDING)], name="time"),
        IndexModel([("user_id", ASCENDING)], name="user"),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "at", *_COMPARED],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^job_[0-9a-f]{32}$"},
            "at": _TIME,
            **_COMPARED,
        },
    },
)

_FEEDBACK: Final = CollectionPlan(
    name="feedback",
    indexes=(IndexModel([("user_id", ASCENDING)], name="user"),),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "rating", "at"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^job_[0-9a-f]{32}$"},
            "user_id": {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"},
            "rating": {"enum": list(get_args(Rating))},
            "comment": {"bsonType": ["string", "null"], "maxLength": 8_000},
            "at": _TIME,
        },
    },
)

#: A document for each kind of alert.
_ALERTS: Final = CollectionPlan(
    name="alerts", indexes=(IndexModel([("last", DESCENDING)], name="time"),)
)

#: Every collection of the database.
COLLECTIONS: Final = (
    *(_USERS, _AUDIT, _REFRESH_FAMILIES, _API_KEYS, _JOBS, _FEEDBACK, _CONVERSATIONS),
    *(_LEDGER, _SET_ASIDE, _COMPARISONS, _ALERTS),
)


def ensure_indexes(database: Database[dict[str, Any]]) -> None:
    """Make every index of `COLLECTIONS` that is missing; a repeat is harmless.

    Raises:
        StoreUnavailable: MongoDB is away or refuses; what was done stays.
    """
    with store_errors():
        for plan in COLLECTIONS:
            database[plan.name].create_indexes(list(plan.indexes))


def ensure_validators(database: Database[dict[str, Any]]) -> None:
    """Set every collection's schema to that of `COLLECTIONS`; documents of before are left alone.

    Raises:
        StoreUnavailable: MongoDB is away or refuses; what was done stays.
    """
    with store_errors():
        for plan in COLLECTIONS:
            if plan.schema is not None:
                _set_validator(database, plan.name, plan.schema)


def _set_validator(database: Database[dict[str, Any]], name: str, schema: dict[str, Any]) -> None:
    options: dict[str, Any] = {
        "validator": {"$jsonSchema": schema},
        "validationLevel": "moderate",
    }
    try:
        database.create_collection(name, **options)
    except (CollectionInvalid, OperationFailure) as error:
        if isinstance(error, OperationFailure) and error.code != _NAMESPACE_EXISTS:
            raise
        database.command("collMod", name, **options)
