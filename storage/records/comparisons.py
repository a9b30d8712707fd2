"""Comparisons of cheaper answers with the deep tier's, in MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError

from core.comparisons import Comparison
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database


class Comparisons:
    """Comparisons by job id; raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        majority = WriteConcern("majority")
        self._comparisons = database.get_collection("comparisons", write_concern=majority)

    def add(self, comparison: Comparison) -> None:
        """Store a comparison; a second one of the same job changes nothing."""
        document = msgspec.to_builtins(comparison)
        job_id, at_ms = document.pop("job_id"), document.pop("at_ms")
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        with store_errors():
            try:
                self._comparisons.insert_one({"_id": job_id, "at": at, **document})
            except DuplicateKeyError:
                return

    def since(self, since_ms: int) -> list[Comparison]:
        """Return what was compared from then on, newest first."""
        criteria = {"at": {"$gte": datetime.fromtimestamp(since_ms / 1000, UTC)}}
        with store_errors():
            return [_from_document(row) for row in self._comparisons.find(criteria).sort("at", -1)]


def _from_document(document: dict[str, Any]) -> Comparison:
    job_id, at = document.pop("_id"), document.pop("at")
    at_ms = round(at.timestamp() * 1000)
    return msgspec.convert({"job_id": job_id, "at_ms": at_ms, **document}, Comparison)
