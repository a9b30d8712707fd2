"""What MongoDB holds of a user: where, what an export shows of it, and how it ends.

`HOLDINGS` has a row for each collection. A user's jobs come and go page by page, and so do their
keys in Redis; see `storage/jobs/user_keys.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct
from pymongo import WriteConcern

from core.ids import DELETED_USER
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

#: Fields whose names hold one of these words are secrets, or what a secret is checked against.
_SECRET_WORDS: Final = ("hash", "password", "salt", "secret", "token")
#: Acts whose `before` and `after` name plans and roles; those of others may name a person.
_IMPERSONAL_ACTS: Final = ("plan.set", "role.set", "trial.start")
_AT_ONCE: Final = 1_000


class Holding(Struct, frozen=True, kw_only=True):
    """What a collection holds of users.

    Attributes:
        users_in: the fields that hold a user's id; none where the collection holds no user's data.
        kind: what an export calls one of its documents; None where it has them in another form.
        end: what a deletion does: remove the documents, put `DELETED_USER` into them, or leave it
            to the caller's own step.
    """

    collection: str
    users_in: tuple[str, ...] = ("user_id",)
    kind: str | None = None
    end: Literal["remove", "anonymise", "own_step"] = "remove"


HOLDINGS: Final = (
    Holding(collection="users", users_in=("_id",), kind="account", end="own_step"),
    Holding(collection="refresh_families", kind="session"),
    Holding(collection="api_keys", kind="api_key"),
    # An export has these three as every surface shows them.
    Holding(collection="jobs", end="own_step"),
    Holding(collection="feedback"),
    Holding(collection="conversations"),
    # Sums over the jobs.
    Holding(collection="usage_daily"),
    Holding(collection="comparisons", kind="comparison"),
    Holding(collection="set_aside", kind="set_aside"),
    # Sums stay right, and a settlement that comes late finds its `_id` taken.
    Holding(collection="ledger", kind="ledger", end="anonymise"),
    Holding(collection="audit", users_in=("user_id", "actor"), kind="audit", end="anonymise"),
    Holding(collection="bulk_actions", kind="bulk_action"),
    Holding(collection="webhook_deliveries", kind="webhook_delivery"),
    Holding(collection="webhook_secrets", users_in=("_id",)),
    Holding(collection="alerts", users_in=(), end="own_step"),
)


class RecordedJob(Struct, frozen=True):
    """What of a recorded job names keys in Redis."""

    id: str
    conversation_id: str | None


class PersonalData:
    """One database's documents by their user; raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database

    def rows(self, user_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the user's documents with what an export calls each, without any secret."""
        for holding in HOLDINGS:
            if holding.kind is None:
                continue
            with store_errors():
                # Of acts on other accounts only these accounts' owners learn.
                for document in self._database[holding.collection].find(
                    {holding.users_in[0]: user_id}
                ):
                    yield holding.kind, _without_secrets(document)

    def jobs(self, user_id: str, *, limit: int) -> list[RecordedJob]:
        """Return so many of the user's recorded jobs."""
        wanted = {"spec.conversation_id": 1}
        with store_errors():
            found = self._database["jobs"].find({"user_id": user_id}, wanted).limit(limit)
            return [
                RecordedJob(document["_id"], document.get("spec", {}).get("conversation_id"))
                for document in found
            ]

    def remove_jobs(self, user_id: str, job_ids: Sequence[str]) -> None:
        """Remove the user's jobs with these ids; a repeat does nothing."""
        with store_errors():
            self._collection("jobs").delete_many({"user_id": user_id, "_id": {"$in": [*job_ids]}})

    def remove_rest(self, user_id: str) -> bool:
        """Remove or anonymise some of all but the jobs and the user; say whether nothing is left.

        A call does a thousand documents of each collection at most.
        """
        is_done = True
        for holding in HOLDINGS:
            if holding.end == "own_step":
                continue
            for field in holding.users_in:
                is_done &= self._end_some(holding, field, user_id)
        return is_done

    def _end_some(self, holding: Holding, field: str, user_id: str) -> bool:
        collection = self._collection(holding.collection)
        with store_errors():
            found = collection.find({field: user_id}, {"_id": 1}).limit(_AT_ONCE)
            ids = [document["_id"] for document in found]
            chosen = {field: user_id, "_id": {"$in": ids}}
            if ids and holding.end == "remove":
                collection.delete_many(chosen)
            elif ids:
                _anonymise(collection, field, chosen)
        return len(ids) < _AT_ONCE

    def _collection(self, name: str) -> Collection[dict[str, Any]]:
        return self._database.get_collection(name, write_concern=WriteConcern("majority"))


def _anonymise(collection: Collection[dict[str, Any]], field: str, chosen: dict[str, Any]) -> None:
    if collection.name == "audit":
        personal = {**chosen, "act": {"$nin": list(_IMPERSONAL_ACTS)}}
        collection.update_many(personal, {"$set": {"before": "", "after": ""}})
    collection.update_many(chosen, {"$set": {field: DELETED_USER}})


def _without_secrets(document: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_secrets(value) if isinstance(value, dict) else value
        for name, value in document.items()
        if not any(word in name for word in _SECRET_WORDS)
    }
