"""The collections of accounts."""

from __future__ import annotations

from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from core.plans import PLANS, ROLES
from core.scopes import SCOPES
from storage.records.collection_plan import TEXT, TIME, USER_ID, CollectionPlan

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
            "_id": USER_ID,
            "name": TEXT,
            "email": TEXT,
            "password_hash": TEXT,
            # Of the one link for a new password.
            "reset_hash": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
            "reset_expires_at": TIME,
            "plan": {"enum": list(PLANS)},
            "role": {"enum": list(ROLES)},
            "token_version": {"bsonType": ["int", "long"], "minimum": 0},
            "created_at": TIME,
            "trial_ends_at": TIME,
            "expires_at": TIME,
            "deleting_at": TIME,
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
            "at": TIME,
            "actor": TEXT,
            "act": TEXT,
            "user_id": USER_ID,
            "before": TEXT,
            "after": TEXT,
            "request_id": TEXT,
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
            "user_id": USER_ID,
            "token_hash": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
            "created_at": TIME,
            "used_at": TIME,
            "expires_at": TIME,
            "user_agent": TEXT,
            "address": TEXT,
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
            "user_id": USER_ID,
            "name": TEXT,
            "hint": TEXT,
            "secret_hash": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
            "scopes": {"bsonType": "array", "items": {"enum": list(SCOPES)}},
            "plan": {"enum": list(PLANS)},
            "created_at": TIME,
            "used_at": TIME,
            "expires_at": TIME,
        },
    },
)

_WEBHOOK_SECRETS: Final = CollectionPlan(
    name="webhook_secrets",
    indexes=(),
    schema={
        "bsonType": "object",
        "required": ["_id", "secret", "created_at"],
        "properties": {
            "_id": USER_ID,
            "secret": TEXT,
            "created_at": TIME,
            "previous_secret": TEXT,
            "previous_until": TIME,
        },
    },
)

ACCOUNT_COLLECTIONS: Final = (_USERS, _AUDIT, _REFRESH_FAMILIES, _API_KEYS, _WEBHOOK_SECRETS)
