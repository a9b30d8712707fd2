"""What an operator has to know: one document a kind, with how often and when it was last seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.timing import now_ms
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

RECORD_SET_ASIDE: Final = "record_set_aside"


class Alert(Struct, frozen=True, kw_only=True):
    """One kind of alert; `count` since it was first seen."""

    kind: str
    count: int
    last_ms: int


class Alerts:
    """The collection of alerts; raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._rows = database["alerts"]

    def add(self, kind: str) -> None:
        """Count one more of a kind, seen now."""
        now = datetime.fromtimestamp(now_ms() / 1000, UTC)
        change = {"$inc": {"count": 1}, "$set": {"last": now}, "$setOnInsert": {"first": now}}
        with store_errors():
            self._rows.update_one({"_id": kind}, change, upsert=True)

    def since(self, age: timedelta) -> list[Alert]:
        """Return those last seen within the age, the latest first."""
        with store_errors():
            found = self._rows.find({"last": {"$gte": datetime.now(UTC) - age}}).sort("last", -1)
            return [
                Alert(
                    kind=row["_id"],
                    count=row["count"],
                    last_ms=round(row["last"].timestamp() * 1000),
                )
                for row in found
            ]
