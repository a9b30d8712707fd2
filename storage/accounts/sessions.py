"""Sessions: each is a family of refresh tokens, of which only the latest is valid, and only once.

An older token was stolen, or its holder's was, so presenting one ends the whole family (RFC 9700,
section 4.14.2).
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pymongo import WriteConcern

from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database


class RefreshGrant(Struct, frozen=True):
    """The right to one refresh; only its holder knows `token_id`."""

    user_id: str
    family_id: str
    token_id: str


class RefreshFamilies:
    """Families in MongoDB, tokens as SHA-256; raises StoreUnavailable when it does not answer."""

    def __init__(self, database: Database[dict[str, Any]], *, life_s: int) -> None:
        self._families = database.get_collection(
            "refresh_families", write_concern=WriteConcern("majority")
        )
        self._life = timedelta(seconds=life_s)

    def open(self, user_id: str) -> RefreshGrant:
        """Start a session and return its first grant."""
        grant = RefreshGrant(user_id, secrets.token_hex(16), secrets.token_hex(16))
        now = datetime.now(UTC)
        with store_errors():
            self._families.insert_one(
                {
                    "_id": grant.family_id,
                    "user_id": user_id,
                    "token_hash": _hash(grant.token_id),
                    "created_at": now,
                    "expires_at": now + self._life,
                }
            )
        return grant

    def rotate(self, family_id: str, token_id: str) -> RefreshGrant | None:
        """Exchange the family's latest token for the next; of two concurrent calls one succeeds.

        Any other token, also one that was used before, ends the family; the answer is then None.
        """
        next_id = secrets.token_hex(16)
        now = datetime.now(UTC)
        with store_errors():
            found = self._families.find_one_and_update(
                {
                    "_id": family_id,
                    "token_hash": _hash(token_id),
                    "expires_at": {"$gt": now},
                },
                {"$set": {"token_hash": _hash(next_id), "expires_at": now + self._life}},
            )
        if found is None:
            self.revoke(family_id)
            return None
        return RefreshGrant(found["user_id"], family_id, next_id)

    def exists(self, family_id: str) -> bool:
        """Say whether the session goes on."""
        with store_errors():
            return self._families.find_one({"_id": family_id}, {"_id": 1}) is not None

    def revoke(self, family_id: str) -> None:
        """End one session; a repeat does nothing."""
        with store_errors():
            self._families.delete_one({"_id": family_id})

    def revoke_all(self, user_id: str) -> list[str]:
        """End every session of the user and return their families."""
        with store_errors():
            found = self._families.find({"user_id": user_id}, {"_id": 1})
            family_ids = [document["_id"] for document in found]
            self._families.delete_many({"user_id": user_id})
        return family_ids


def _hash(token_id: str) -> str:
    """Hash without salt or stretching: the ids are 128 random bits."""
    return hashlib.sha256(token_id.encode()).hexdigest()
