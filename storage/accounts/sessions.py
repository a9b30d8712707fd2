"""Sessions: each is a family of refresh tokens, of which only the latest is valid, and only once.

An older token was stolen, or its holder's was, so presenting one ends the whole family (RFC 9700,
section 4.14.2).
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pymongo import DESCENDING, WriteConcern

from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

#: Sessions that a user may have; a login beyond them ends those that are unused for longest.
MAX_SESSIONS: Final = 100


class RefreshGrant(Struct, frozen=True):
    """The right to one refresh; only its holder knows `token_id`."""

    user_id: str
    family_id: str
    token_id: str


class Origin(Struct, frozen=True):
    """Where a request came from: what its program calls itself, and its address; both bounded."""

    user_agent: str = ""
    address: str = ""


_NOWHERE: Final = Origin()


class SessionRecord(Struct, frozen=True, kw_only=True):
    """A session that goes on.

    Attributes:
        family_id: no secret: with it alone nobody can do anything.
        used_ms: when its tokens were last traded, or issued first.
        origin: of that request; empty for a session of before these were kept.
    """

    family_id: str
    created_ms: int
    used_ms: int
    expires_ms: int
    origin: Origin


class RefreshFamilies:
    """Families in MongoDB, tokens as SHA-256; raises StoreUnavailable when it does not answer."""

    def __init__(self, database: Database[dict[str, Any]], *, life_s: int) -> None:
        self._families = database.get_collection(
            "refresh_families", write_concern=WriteConcern("majority")
        )
        self._life = timedelta(seconds=life_s)

    def open(self, user_id: str, origin: Origin = _NOWHERE) -> RefreshGrant:
        """Start a session and return its first grant."""
        grant = RefreshGrant(user_id, secrets.token_hex(16), secrets.token_hex(16))
        issued = self._issued(grant.token_id, origin)
        document = {"_id": grant.family_id, "user_id": user_id, "created_at": issued["used_at"]}
        with store_errors():
            self._families.insert_one(document | issued)
        return grant

    def rotate(
        self,
        family_id: str,
        token_id: str,
        origin: Origin = _NOWHERE,
    ) -> RefreshGrant | None:
        """Exchange the family's latest token for the next; of two concurrent calls one succeeds.

        Any other token, also one that was used before, ends the family; the answer is then None.
        """
        next_id = secrets.token_hex(16)
        with store_errors():
            found = self._families.find_one_and_update(
                {
                    "_id": family_id,
                    "token_hash": _hash(token_id),
                    "expires_at": {"$gt": datetime.now(UTC)},
                },
                {"$set": self._issued(next_id, origin)},
            )
        if found is None:
            self.revoke(family_id)
            return None
        return RefreshGrant(found["user_id"], family_id, next_id)

    def renew(self, user_id: str, family_id: str, origin: Origin) -> RefreshGrant | None:
        """Void the latest token of the user's session and return a new grant; None if it is over.

        Only for a request that came with an access token of the session.
        """
        next_id = secrets.token_hex(16)
        with store_errors():
            done = self._families.update_one(
                {"user_id": user_id, "_id": family_id}, {"$set": self._issued(next_id, origin)}
            )
        return RefreshGrant(user_id, family_id, next_id) if done.matched_count else None

    def _issued(self, token_id: str, origin: Origin) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "token_hash": _hash(token_id),
            "used_at": now,
            "expires_at": now + self._life,
            "user_agent": origin.user_agent,
            "address": origin.address,
        }

    def exists(self, family_id: str) -> bool:
        """Say whether the session goes on."""
        with store_errors():
            return self._families.find_one({"_id": family_id}, {"_id": 1}) is not None

    def belongs_to(self, user_id: str, family_id: str) -> bool:
        """Say whether the session is the user's."""
        mine = {"user_id": user_id, "_id": family_id}
        with store_errors():
            return self._families.find_one(mine, {"_id": 1}) is not None

    def list(self, user_id: str) -> list[SessionRecord]:
        """Return the user's sessions that go on, the latest used first, at most `MAX_SESSIONS`."""
        lasting = {"user_id": user_id, "expires_at": {"$gt": datetime.now(UTC)}}
        with store_errors():
            found = self._families.find(lasting, {"token_hash": 0})
            return [
                _to_record(document)
                for document in found.sort("expires_at", DESCENDING).limit(MAX_SESSIONS)
            ]

    def beyond_limit(self, user_id: str) -> tuple[str, ...]:
        """Return the families beyond the user's `MAX_SESSIONS` latest used ones."""
        with store_errors():
            found = self._families.find({"user_id": user_id}, {"_id": 1})
            found = found.sort("expires_at", DESCENDING).skip(MAX_SESSIONS)
            return tuple(document["_id"] for document in found)

    def of(self, user_id: str) -> tuple[str, ...]:
        """Return every family of the user."""
        with store_errors():
            found = self._families.find({"user_id": user_id}, {"_id": 1})
            return tuple(document["_id"] for document in found)

    def revoke(self, *family_ids: str) -> None:
        """End sessions; a repeat does nothing."""
        with store_errors():
            self._families.delete_many({"_id": {"$in": list(family_ids)}})

    def revoke_all(self, user_id: str) -> tuple[str, ...]:
        """End every session of the user and return their families."""
        family_ids = self.of(user_id)
        with store_errors():
            self._families.delete_many({"user_id": user_id})
        return family_ids


def _to_record(document: dict[str, Any]) -> SessionRecord:
    created_at = document["created_at"]
    return SessionRecord(
        family_id=document["_id"],
        created_ms=_to_ms(created_at),
        used_ms=_to_ms(document.get("used_at", created_at)),
        expires_ms=_to_ms(document["expires_at"]),
        origin=Origin(document.get("user_agent", ""), document.get("address", "")),
    )


def _to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _hash(token_id: str) -> str:
    """Hash without salt or stretching: the ids are 128 random bits."""
    return hashlib.sha256(token_id.encode()).hexdigest()
