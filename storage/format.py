"""The format of what is stored: a process works with its own format only.

The number stands in Redis and in MongoDB. Whoever finds another one refuses to start, so that an
old process never writes into a new layout, nor a new one into an old layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from storage import keys
from storage.failures import coordinator_errors, store_errors

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

#: Raised by one when data of the version before could not be read or written by this one.
FORMAT: Final = 2
#: Where migrations, validators and the format are recorded.
META: Final = "meta"
_FORMAT_ID: Final = "format"
_RESTORE_ID: Final = "restore"
_WAY_OUT: Final = (
    "Drain and stop everything (`aether drain`, `aether stop`), start this version's "
    "`aether db migrate`, then the stack."
)


class OtherFormat(ValueError):
    """The stores hold data of another version; the text says which, and what to do."""


def require_format(redis: Redis, database: Database[dict[str, Any]]) -> None:
    """Check that both stores hold this version's format; an empty Redis takes it.

    A Redis that lost everything is no other format: its mark is made again.

    Raises:
        OtherFormat: one holds another format, or MongoDB has data and no mark.
        CoordinatorUnavailable, StoreUnavailable: one of them is away.
    """
    stored = format_of(database)
    if stored is None:
        held = "data of a version before formats had numbers" if has_data(database) else "no format"
        raise OtherFormat(f"MongoDB holds {held}; this version needs {FORMAT}. {_WAY_OUT}")
    _refuse_other("MongoDB", stored)
    with coordinator_errors():
        redis.set(keys.FORMAT, FORMAT, nx=True)
        marked: Any = redis.get(keys.FORMAT)
    _refuse_other("Redis", int(marked))


def format_of(database: Database[dict[str, Any]]) -> int | None:
    """Return the format that MongoDB's data is marked with; None without a mark.

    Raises:
        OtherFormat: a restore into this database has begun and not ended.
    """
    with store_errors():
        marks = database[META].find({"_id": {"$in": [_FORMAT_ID, _RESTORE_ID]}})
        found = {row["_id"]: row for row in marks}
    if _RESTORE_ID in found:
        raise OtherFormat(
            "A restore into MongoDB has begun and not ended; repeat it: `aether restore --replace`."
        )
    return int(found[_FORMAT_ID]["value"]) if _FORMAT_ID in found else None


def begin_restore(database: Database[dict[str, Any]]) -> None:
    """Keep every process from starting on this database until `end_restore`."""
    with store_errors():
        database[META].replace_one({"_id": _RESTORE_ID}, {}, upsert=True)


def end_restore(database: Database[dict[str, Any]]) -> None:
    """Let processes start on this database; a repeat does nothing."""
    with store_errors():
        database[META].delete_one({"_id": _RESTORE_ID})


def has_data(database: Database[dict[str, Any]]) -> bool:
    """Say whether anybody has used the database."""
    with store_errors():
        return database["users"].find_one({}, {"_id": 1}) is not None


def set_format(redis: Redis, database: Database[dict[str, Any]]) -> None:
    """Mark both stores with this version's format."""
    with store_errors():
        change = {"$set": {"value": FORMAT}}
        database[META].update_one({"_id": _FORMAT_ID}, change, upsert=True)
    with coordinator_errors():
        redis.set(keys.FORMAT, FORMAT)


def _refuse_other(store: str, stored: int) -> None:
    if stored > FORMAT:
        raise OtherFormat(
            f"{store} holds format {stored}, of a newer version; this one works with {FORMAT}. "
            "Run the newer version."
        )
    if stored < FORMAT:
        raise OtherFormat(
            f"{store} holds format {stored}; this version works with {FORMAT}. {_WAY_OUT}"
        )
