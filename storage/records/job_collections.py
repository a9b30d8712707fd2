"""The collections of jobs and of what came of them."""

from __future__ import annotations

from typing import Final, get_args

from pymongo import ASCENDING, DESCENDING, IndexModel

from core.bulk import BulkKind, BulkStatus
from core.comparisons import Verdict
from core.jobs import JobStatus, Rating
from core.outcome import WORKER_LOST
from core.webhooks import MOST_URL_CHARS, DeliveryStatus
from core.words import MOST_WORDS
from storage.records.collection_plan import JOB_ID, TEXT, TIME, USER_ID, CollectionPlan

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
        # What a job is found by besides its status and time.
        IndexModel(
            [
                ("user_id", ASCENDING),
                ("tags", ASCENDING),
                ("created_at", DESCENDING),
                ("_id", DESCENDING),
            ],
            name="tags",
        ),
        # Of those alone whose time was set when they ended.
        IndexModel([("content_until", ASCENDING)], name="content", sparse=True),
        IndexModel([("expires_at", ASCENDING)], name="expiry", sparse=True, expireAfterSeconds=0),
        # A conversation's messages in their order.
        IndexModel(
            [
                ("user_id", ASCENDING),
                ("spec.conversation_id", ASCENDING),
                ("created_at", ASCENDING),
                ("_id", ASCENDING),
            ],
            name="messages",
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
            "_id": JOB_ID,
            "user_id": USER_ID,
            "status": {"enum": [status.value for status in JobStatus]},
            "created_at": TIME,
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
            "user_id": USER_ID,
            "name": {"bsonType": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "title": {"bsonType": ["string", "null"], "maxLength": 800},
            "titled_by": {"bsonType": "string"},
            "words": {"bsonType": "array", "maxItems": MOST_WORDS},
            "created_at": TIME,
            "updated_at": TIME,
        },
    },
)

_USAGE: Final = CollectionPlan(
    name="usage_daily",
    indexes=(
        IndexModel([("user_id", ASCENDING), ("day", ASCENDING)], name="user"),
        IndexModel([("day", ASCENDING)], name="day"),
        # What has to be summed up, again or for the first time.
        IndexModel([("stale", ASCENDING), ("day", ASCENDING)], name="stale"),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "day", "stale", "changes"],
        "properties": {
            "_id": {"bsonType": "string"},
            "user_id": USER_ID,
            "day": {"bsonType": "string", "pattern": "^[0-9]{8}$"},
            "stale": {"bsonType": "bool"},
            "changes": {"bsonType": ["int", "long"]},
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
    "user_id": USER_ID,
    "tier": TEXT,
    "model": TEXT,
    # Grows with every model that had to stand in.
    "reason": {"bsonType": "string"},
    "deep_model": TEXT,
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
            "_id": JOB_ID,
            "at": TIME,
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
            "_id": JOB_ID,
            "user_id": USER_ID,
            "rating": {"enum": list(get_args(Rating))},
            "comment": {"bsonType": ["string", "null"], "maxLength": 8_000},
            "at": TIME,
        },
    },
)

_BULK_ACTIONS: Final = CollectionPlan(
    name="bulk_actions",
    indexes=(
        IndexModel([("status", ASCENDING), ("due_at", ASCENDING)], name="due"),
        IndexModel(
            [("user_id", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="list"
        ),
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "kind", "filter", "status", "created_at"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^act_[0-9a-f]{32}$"},
            "user_id": USER_ID,
            "kind": {"enum": list(get_args(BulkKind))},
            "filter": {"bsonType": "object"},
            "status": {"enum": list(get_args(BulkStatus))},
            "created_at": TIME,
        },
    },
)

_DELIVERIES: Final = CollectionPlan(
    name="webhook_deliveries",
    indexes=(
        IndexModel([("status", ASCENDING), ("due_at", ASCENDING)], name="due"),
        IndexModel(
            [("user_id", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="list"
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
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ),
    schema={
        "bsonType": "object",
        "required": ["_id", "user_id", "job_id", "url", "type", "status", "created_at"],
        "properties": {
            "_id": {"bsonType": "string", "pattern": "^msg_[0-9a-f]{32}$"},
            "user_id": USER_ID,
            "job_id": JOB_ID,
            "url": {"bsonType": "string", "maxLength": MOST_URL_CHARS},
            "type": TEXT,
            "status": {"enum": list(get_args(DeliveryStatus))},
            "attempts": {"bsonType": ["int", "long"], "minimum": 0},
            "created_at": TIME,
        },
    },
)

#: A document for each kind of alert.
_ALERTS: Final = CollectionPlan(
    name="alerts", indexes=(IndexModel([("last", DESCENDING)], name="time"),)
)

JOB_COLLECTIONS: Final = (
    *(_JOBS, _FEEDBACK, _CONVERSATIONS, _USAGE),
    *(_LEDGER, _SET_ASIDE, _COMPARISONS, _ALERTS, _DELIVERIES, _BULK_ACTIONS),
)
