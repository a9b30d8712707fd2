"""Makes the indexes and sets the JSON schemas of MongoDB's collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import CollectionInvalid, OperationFailure

from storage.failures import store_errors
from storage.records.account_collections import ACCOUNT_COLLECTIONS
from storage.records.job_collections import JOB_COLLECTIONS

if TYPE_CHECKING:
    from pymongo.database import Database

#: What MongoDB answers when another process has just made the collection.
_NAMESPACE_EXISTS: Final = 48

#: Every collection of the database.
COLLECTIONS: Final = (*ACCOUNT_COLLECTIONS, *JOB_COLLECTIONS)


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
