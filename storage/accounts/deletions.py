"""Accounts that are to be deleted: the mark by which upkeep removes all that is held of them.

The mark is everything: whoever removes the data may die at any point, and the next one finds it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pymongo import WriteConcern

from storage.accounts.users import STAYS
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database


class Deletion(Struct, frozen=True):
    """An account that is being deleted, and since when (Unix milliseconds)."""

    user_id: str
    since_ms: int


class Deletions:
    """The marks, in MongoDB; raises StoreUnavailable when it does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        majority = WriteConcern("majority")
        self._users = database.get_collection("users", write_concern=majority)
        self._families = database.get_collection("refresh_families", write_concern=majority)

    def begin(self, user_id: str) -> None:
        """Mark the account and end its sessions: nobody can log in or use a token of it any more.

        Processes that have seen the user notice within ten seconds. A repeat keeps the first mark.
        """
        self._mark({"_id": user_id})
        with store_errors():
            self._families.delete_many({"user_id": user_id})

    def begin_expired(self, *, limit: int) -> int:
        """Mark so many demo accounts whose time is over, and return how many there were."""
        now = datetime.now(UTC)
        with store_errors():
            over = self._users.find({"expires_at": {"$lte": now}, **STAYS}, {"_id": 1})
            user_ids = [document["_id"] for document in over.limit(limit)]
        # An account that was given a plan since has no time to be over.
        return sum(
            self._mark({"_id": user_id, "expires_at": {"$lte": now}}) for user_id in user_ids
        )

    def list(self, *, limit: int) -> list[Deletion]:
        """Return marked accounts, those first that were marked first."""
        with store_errors():
            found = self._users.find({"deleting_at": {"$exists": True}}, {"deleting_at": 1})
            rows = list(found.sort("deleting_at", 1).limit(limit))
        return [Deletion(row["_id"], round(row["deleting_at"].timestamp() * 1000)) for row in rows]

    def end(self, user_id: str) -> None:
        """Remove the user's own document, by which the account is gone and its address is free."""
        with store_errors():
            self._users.delete_one({"_id": user_id, "deleting_at": {"$exists": True}})

    def _mark(self, chosen: dict[str, Any]) -> bool:
        changes = {
            # An empty hash fits no password: the version before knows the mark's field not.
            "$set": {"deleting_at": datetime.now(UTC), "password_hash": ""},
            "$inc": {"token_version": 1},
        }
        with store_errors():
            return bool(self._users.update_one({**chosen, **STAYS}, changes).modified_count)
