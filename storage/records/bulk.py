"""Acts on many jobs in MongoDB: upkeep carries them out, and this is how far it has come."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pymongo import WriteConcern

from core.bulk import BulkAction, BulkKind, new_action_id
from core.job_filter import JobFilter
from core.limit_errors import TooManyActions
from core.timing import now_ms
from storage.failures import store_errors
from storage.records.documents import to_ms, to_time
from storage.records.keyset import newest_behind, page, with_time

if TYPE_CHECKING:
    from pymongo.database import Database

#: Of one user at a time.
MOST_RUNNING: Final = 10
#: Among the latest of so many those that run are counted.
_LATEST: Final = 100
_KEPT: Final = timedelta(days=30)


class BulkActions:
    """The collection; every method raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._actions = database.get_collection(
            "bulk_actions", write_concern=WriteConcern("majority")
        )

    def begin(self, user_id: str, kind: BulkKind, wanted: JobFilter) -> BulkAction:
        """Have upkeep do it, to jobs that were submitted until now.

        Raises:
            TooManyActions: ten of the user's are running.
        """
        latest = self.list_of_user(user_id, limit=_LATEST)
        if sum(action.status == "running" for action in latest) >= MOST_RUNNING:
            raise TooManyActions
        now = to_time(now_ms())
        document = {
            "_id": new_action_id(),
            "user_id": user_id,
            "kind": kind,
            "filter": msgspec.to_builtins(wanted),
            "status": "running",
            "created_at": now,
            "due_at": now,
            "done": 0,
            "skipped": 0,
            "refused": {},
        }
        with store_errors():
            self._actions.insert_one(document)
        return _read(document)

    def claim(self, at_ms: int, until_ms: int) -> BulkAction | None:
        """Return the running action that has waited longest, which nobody else takes meanwhile."""
        due = {"status": "running", "due_at": {"$lt": to_time(at_ms + 1)}}
        with store_errors():
            found = next(iter(self._actions.find(due).sort("due_at", 1).limit(1)), None)
            if found is None:
                return None
            seen = {"_id": found["_id"], "status": "running", "due_at": found["due_at"]}
            taken = self._actions.update_one(seen, {"$set": {"due_at": to_time(until_ms)}})
        return _read(found) if taken.matched_count else None

    def note(self, action: BulkAction, due_ms: int) -> None:
        """Keep how far it has come, and when somebody has to go on with it."""
        self._set(action, {"due_at": to_time(due_ms)})

    def end(self, action: BulkAction) -> None:
        """Keep that it is over."""
        finished = to_time(action.finished_ms or now_ms())
        self._set(action, {"finished_at": finished, "expires_at": finished + _KEPT, "due_at": None})

    def _set(self, action: BulkAction, more: dict[str, Any]) -> None:
        changes = {
            "status": action.status,
            "done": action.done,
            "skipped": action.skipped,
            "refused": action.refused,
            "waits_for": action.waits_for,
            "after": None if action.after is None else list(action.after),
        }
        with store_errors():
            self._actions.update_one({"_id": action.id}, {"$set": changes | more})

    def get(self, user_id: str, action_id: str) -> BulkAction | None:
        """Return a user's action."""
        with store_errors():
            found = self._actions.find_one({"_id": action_id, "user_id": user_id})
        return None if found is None else _read(found)

    def list_of_user(
        self, user_id: str, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[BulkAction]:
        """Return a user's actions, newest first, behind the `(created_ms, id)` of `before`."""
        chosen = with_time({"user_id": user_id}, "created_at", newest_behind(before))
        with store_errors():
            found = self._actions.find(chosen).sort([("created_at", -1), ("_id", -1)])
            read = map(_read, found.batch_size(limit + 1))
            return page(
                read, lambda one: (one.created_ms, one.id), before, newest_first=True, limit=limit
            )


def _read(document: dict[str, Any]) -> BulkAction:
    after, finished = document.get("after"), document.get("finished_at")
    return BulkAction(
        id=document["_id"],
        user_id=document["user_id"],
        kind=document["kind"],
        filter=msgspec.convert(_plain(document["filter"]), JobFilter),
        status=document["status"],
        created_ms=to_ms(document["created_at"]),
        finished_ms=None if finished is None else to_ms(finished),
        done=int(document["done"]),
        skipped=int(document["skipped"]),
        refused={code: int(count) for code, count in document["refused"].items()},
        waits_for=document.get("waits_for"),
        after=None if after is None else (int(after[0]), after[1]),
    )


def _plain(filter_: dict[str, Any]) -> dict[str, Any]:
    """Return the filter without the driver's own type for whole numbers of 64 bits."""
    return {
        name: int(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in filter_.items()
    }
