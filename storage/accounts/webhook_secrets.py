"""The secrets with which accounts' webhooks are signed."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError

from core.timing import now_ms
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

#: How long a secret that was replaced signs beside the new one.
OVERLAP: Final = timedelta(hours=24)
_BYTES: Final = 32


class WebhookSecret(Struct, frozen=True, kw_only=True):
    """An account's secret, in the form of Standard Webhooks; times are Unix milliseconds.

    Attributes:
        previous: the one before, while it signs too.
    """

    secret: str
    created_ms: int
    previous: str | None = None
    previous_until_ms: int | None = None


class WebhookSecrets:
    """The secrets; raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._secrets = database.get_collection(
            "webhook_secrets", write_concern=WriteConcern("majority")
        )

    def of(self, user_id: str) -> WebhookSecret:
        """Return the account's secret; one is made where it has none."""
        with store_errors():
            found = self._secrets.find_one({"_id": user_id})
            if found is None:
                found = {"_id": user_id, "secret": _new(), "created_at": _now()}
                try:
                    self._secrets.insert_one(found)
                except DuplicateKeyError:
                    # Another process was first.
                    found = self._secrets.find_one({"_id": user_id}) or found
        return _read(found)

    def valid_of(self, user_id: str) -> tuple[str, ...]:
        """Return the secrets that sign now: the account's, and the one before in its overlap."""
        own = self.of(user_id)
        return (own.secret,) if own.previous is None else (own.secret, own.previous)

    def rotate(self, user_id: str) -> WebhookSecret:
        """Replace the secret; the old one signs beside it for a day."""
        old, now = self.of(user_id), _now()
        changes = {
            "secret": _new(),
            "created_at": now,
            "previous_secret": old.secret,
            "previous_until": now + OVERLAP,
        }
        with store_errors():
            found = self._secrets.find_one_and_update(
                {"_id": user_id, "secret": old.secret},
                {"$set": changes},
                return_document=ReturnDocument.AFTER,
            )
        # Of two at the same time one replaces it, and both return what is stored.
        return self.of(user_id) if found is None else _read(found)


def _now() -> datetime:
    """Return now as MongoDB keeps it, in whole milliseconds."""
    return datetime.fromtimestamp(now_ms() / 1000, UTC)


def _new() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(_BYTES)).decode()}"


def _read(document: dict[str, Any]) -> WebhookSecret:
    until = document.get("previous_until")
    if until is not None and until.astimezone(UTC) <= datetime.now(UTC):
        until = None
    return WebhookSecret(
        secret=document["secret"],
        created_ms=_to_ms(document["created_at"]),
        previous=None if until is None else document["previous_secret"],
        previous_until_ms=None if until is None else _to_ms(until),
    )


def _to_ms(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp() * 1000)
