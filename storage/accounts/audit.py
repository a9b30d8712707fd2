"""The audit log: who changed what of an account, in MongoDB; entries are only ever added."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from pymongo import DESCENDING, WriteConcern

from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

Act = Literal[
    "key.create",
    "key.revoke",
    "webhook_secret.rotate",
    "account.export",
    "account.delete",
    "plan.set",
    "trial.start",
    "role.set",
    "password.set",
    "password.reset_link",
    "password.reset",
]
#: Who acts from the command line of the deployment.
OPERATOR = "operator"


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One act.

    Attributes:
        actor: id of the user who acted, or `operator` for the command line.
        user_id: whose account was changed.
        before, after: what was changed, as it was and as it is to be.
        request_id: of the request that asked for it; empty for the command line.
    """

    id: str
    at_ms: int
    actor: str
    act: Act
    user_id: str
    before: str
    after: str
    request_id: str


class AuditLog:
    """The entries; raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._audit = database.get_collection("audit", write_concern=WriteConcern("majority"))

    def add(
        self, act: Act, user_id: str, *, actor: str, before: str, after: str, request_id: str = ""
    ) -> None:
        """Keep an act; called before it is done, so that none is done without its entry."""
        now = datetime.now(UTC)
        document = {
            # Sorts by time, also within one millisecond of one process.
            "_id": f"aud_{int(now.timestamp() * 1e6):016x}{secrets.token_hex(8)}",
            "at": now,
            "actor": actor,
            "act": act,
            "user_id": user_id,
            "before": before,
            "after": after,
            "request_id": request_id,
        }
        with store_errors():
            self._audit.insert_one(document)

    def list(
        self, *, limit: int, before_id: str | None = None, user_id: str | None = None
    ) -> list[AuditEntry]:
        """Return entries, the latest first; `before_id` goes on behind an earlier page.

        Args:
            user_id: whose account was changed; None for everybody's.
        """
        chosen: dict[str, Any] = {"user_id": user_id} if user_id else {}
        if before_id:
            chosen["_id"] = {"$lt": before_id}
        with store_errors():
            found = list(self._audit.find(chosen).sort("_id", DESCENDING).limit(limit))
        return [
            AuditEntry(
                id=document["_id"],
                at_ms=round(document["at"].timestamp() * 1000),
                **{
                    name: document[name]
                    for name in ("actor", "act", "user_id", "before", "after", "request_id")
                },
            )
            for document in found
        ]
