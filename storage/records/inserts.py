"""Inserting what may be there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import BulkWriteError

if TYPE_CHECKING:
    from pymongo.collection import Collection

_DUPLICATE_KEY: Final = 11000


def insert_missing(collection: Collection[dict[str, Any]], documents: list[dict[str, Any]]) -> None:
    """Insert the documents whose ids are not there yet.

    Raises:
        PyMongoError: MongoDB does not answer, or will never take one of them.
    """
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        if any(failure["code"] != _DUPLICATE_KEY for failure in error.details["writeErrors"]):
            raise
