"""Every operator and index option that Aether uses of MongoDB, tried on the server that is set."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pymongo.errors import OperationFailure, WriteError

Rows = Any
#: Options of indexes by the option that asks for each, with a value to try.
_INDEX_OPTIONS: Final[dict[str, Any]] = {
    "expireAfterSeconds": 3600,
    "partialFilterExpression": {"s": "x"},
    "sparse": True,
    "unique": True,
}
_ROW: Final[dict[str, Any]] = {"n": 5, "s": "x", "tags": ["a"], "old": 1}
#: Each finds `_ROW`, and not the other row.
_QUERIES: Final[dict[str, dict[str, Any]]] = {
    "$and": {"$and": [{"n": 5}, {"s": "x"}]},
    "$elemMatch": {"tags": {"$elemMatch": {"$gte": "a", "$lt": "b"}}},
    "$exists": {"n": {"$exists": True}},
    "$gt": {"n": {"$gt": 4}},
    "$gte": {"n": {"$gte": 5}},
    "$in": {"s": {"$in": ["x", "y"]}},
    "$lt": {"n": {"$lt": 6}},
    "$lte": {"n": {"$lte": 5}},
    "$ne": {"s": {"$ne": "other"}},
    "$nin": {"s": {"$nin": ["other"]}},
    "$or": {"$or": [{"n": 1}, {"s": "x"}]},
    "$size": {"tags": {"$size": 1}},
}
#: Each changes `_ROW` so that the second finds it.
_UPDATES: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "$inc": ({"$inc": {"n": 1}}, {"n": 6}),
    "$max": ({"$max": {"n": 7}}, {"n": 7}),
    "$set": ({"$set": {"s": "z"}}, {"s": "z"}),
    "$setOnInsert": ({"$setOnInsert": {"new": 1}}, {"new": 1}),
    "$unset": ({"$unset": {"old": ""}}, {"old": None}),
}


def refused_operators(database: Any) -> list[str]:
    """Return what the server does not do, or does otherwise; leaves nothing behind."""
    return [name for name, works in _probes(database).items() if not _works(works)]


def probed() -> set[str]:
    """Return the names of what is tried."""
    return set(_probes(None))


def _probes(database: Any) -> dict[str, Callable[[], bool]]:
    probes: dict[str, Callable[[], bool]] = {}
    for name, query in _QUERIES.items():
        probes[name] = partial(_in_own_rows, database, partial(_finds, query))
    for name, (change, after) in _UPDATES.items():
        probes[name] = partial(_in_own_rows, database, partial(_updates, change, after))
    for name in ("$group", "$limit", "$match", "$sort", "$sum"):
        probes[name] = partial(_in_own_rows, database, _sums)
    for name, value in _INDEX_OPTIONS.items():
        probes[name] = partial(_in_own_rows, database, partial(_makes_index, name, value))
    probes["$jsonSchema"] = partial(_in_own_rows, database, _validates)
    return probes


def _works(probe: Callable[[], bool]) -> bool:
    try:
        return probe()
    except OperationFailure:
        return False


def _in_own_rows(database: Any, probe: Callable[[Rows], bool]) -> bool:
    """Try in a collection that is nobody else's."""
    rows = database[f"doctor_{uuid.uuid4().hex[:12]}"]
    try:
        return probe(rows)
    finally:
        rows.drop()


def _finds(query: dict[str, Any], rows: Rows) -> bool:
    rows.insert_many([{"_id": 1, **_ROW}, {"_id": 2, "s": "other"}])
    return [row["_id"] for row in rows.find(query)] == [1]


def _updates(change: dict[str, Any], after: dict[str, Any], rows: Rows) -> bool:
    if "$setOnInsert" not in change:
        rows.insert_one({"_id": 1, **_ROW})
    rows.update_one({"_id": 1}, change, upsert=True)
    return rows.find_one({"_id": 1, **after}) is not None


def _sums(rows: Rows) -> bool:
    rows.insert_many([{"s": "x", "n": 2}, {"s": "x", "n": 3}, {"s": "other", "n": 9}])
    pipeline = [
        {"$match": {"n": {"$gt": 0}}},
        {"$group": {"_id": "$s", "n": {"$sum": "$n"}}},
        {"$sort": {"n": 1}},
        {"$limit": 1},
    ]
    return list(rows.aggregate(pipeline)) == [{"_id": "x", "n": 5}]


def _makes_index(option: str, value: Any, rows: Rows) -> bool:
    rows.create_index("at", name="probe", **{option: value})
    return option in rows.index_information()["probe"]


def _validates(rows: Rows) -> bool:
    schema = {"bsonType": "object", "required": ["n"]}
    options = {"validator": {"$jsonSchema": schema}, "validationLevel": "moderate"}
    rows.database.create_collection(rows.name, **options)
    rows.insert_one({"n": 1})
    try:
        rows.insert_one({"s": "x"})
    except WriteError:
        return True
    return False
