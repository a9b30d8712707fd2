"""Deliveries to webhooks in MongoDB: made with their jobs' records, kept until they are old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo import ReturnDocument, UpdateOne, WriteConcern

from core.jobs import Job
from core.timing import now_ms
from core.webhook_errors import DeliveryNotFound, DeliveryUnfinished
from core.webhooks import Delivery, DeliveryStatus, event_of, message_id
from storage.failures import store_errors
from storage.records.documents import to_time
from storage.records.inserts import insert_missing
from storage.records.keyset import newest_behind, page, with_time

if TYPE_CHECKING:
    from pymongo.database import Database

#: How long an ended delivery is known.
_KEPT: Final = timedelta(days=30)


class WebhookRecords:
    """The collection; every method raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._deliveries = database.get_collection(
            "webhook_deliveries", write_concern=WriteConcern("majority")
        )

    def add(self, jobs: Iterable[Job]) -> None:
        """Make a delivery for each ended job with a webhook; a repeat changes nothing."""
        documents = [_to_document(job, job.spec.webhook) for job in jobs if job.spec.webhook]
        if not documents:
            return
        with store_errors():
            insert_missing(self._deliveries, documents)

    def due(self, at_ms: int, *, limit: int) -> list[Delivery]:
        """Return deliveries that are to be tried now, those that have waited longest first."""
        chosen = {"status": "pending", "due_at": {"$lt": to_time(at_ms + 1)}}
        with store_errors():
            found = self._deliveries.find(chosen).sort("due_at", 1).limit(limit)
            return [_read(document) for document in found]

    def claim(self, delivery: Delivery, until_ms: int) -> bool:
        """Have a delivery due later; False where another process has taken or ended it."""
        seen = {"_id": delivery.id, "status": "pending", "due_at": to_time(delivery.due_ms or 0)}
        with store_errors():
            done = self._deliveries.update_one(seen, {"$set": {"due_at": to_time(until_ms)}})
            return done.modified_count == 1

    def postpone(self, due_ms: Mapping[str, int]) -> None:
        """Have deliveries, by their ids, due at other times; those that have ended stay ended."""
        changes = [
            UpdateOne({"_id": key, "status": "pending"}, {"$set": {"due_at": to_time(at_ms)}})
            for key, at_ms in due_ms.items()
        ]
        if changes:
            with store_errors():
                self._deliveries.bulk_write(changes, ordered=False)

    def try_again(self, delivery: Delivery, due_ms: int, error: str) -> None:
        """Note a failed attempt, and when the next one is due."""
        self._note(delivery, {"due_at": to_time(due_ms), "error": error})

    def note_delivered(self, delivery: Delivery) -> None:
        """Note that the receiver has taken it."""
        self._note(delivery, _ended("delivered") | {"error": None})

    def give_up(self, delivery: Delivery, error: str) -> None:
        """Note that it is not tried any more."""
        self._note(delivery, _ended("dead") | {"error": error})

    def _note(self, delivery: Delivery, changes: dict[str, Any]) -> None:
        latest = {"attempts": delivery.attempts, "response_status": delivery.response_status}
        with store_errors():
            self._deliveries.update_one(
                {"_id": delivery.id, "status": "pending"}, {"$set": latest | changes}
            )

    def list_of_user(
        self,
        user_id: str,
        *,
        limit: int,
        before: tuple[int, str] | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[Delivery]:
        """Return a user's deliveries, newest first, behind the `(created_ms, id)` of `before`."""
        chosen: dict[str, Any] = {"user_id": user_id}
        if status is not None:
            chosen["status"] = status
        chosen = with_time(chosen, "created_at", newest_behind(before))
        with store_errors():
            found = self._deliveries.find(chosen).sort([("created_at", -1), ("_id", -1)])
            read = map(_read, found.batch_size(limit + 1))
            return page(
                read, lambda one: (one.created_ms, one.id), before, newest_first=True, limit=limit
            )

    def get(self, user_id: str, delivery_id: str) -> Delivery | None:
        """Return a user's delivery."""
        with store_errors():
            found = self._deliveries.find_one({"_id": delivery_id, "user_id": user_id})
        return None if found is None else _read(found)

    def resend(self, user_id: str, delivery_id: str) -> Delivery:
        """Have an ended delivery tried again, for another day.

        Raises:
            DeliveryNotFound: the user has none with this id.
            DeliveryUnfinished: it is being tried.
        """
        own = {"_id": delivery_id, "user_id": user_id}
        now = to_time(now_ms())
        begun = {"status": "pending", "due_at": now, "since": now, "attempts": 0, "error": None}
        gone = {"finished_at": "", "expires_at": "", "response_status": ""}
        with store_errors():
            for status in ("dead", "delivered"):
                ended = {"_id": delivery_id, "user_id": user_id, "status": status}
                found = self._deliveries.find_one_and_update(
                    ended,
                    {"$set": begun, "$unset": gone},
                    return_document=ReturnDocument.AFTER,
                )
                if found is not None:
                    return _read(found)
            if self._deliveries.find_one(own, {"_id": 1}) is None:
                raise DeliveryNotFound
        raise DeliveryUnfinished


def _to_document(job: Job, url: str) -> dict[str, Any]:
    at = to_time(job.finished_ms or now_ms())
    return {
        "_id": message_id(job.id),
        "user_id": job.spec.user_id,
        "job_id": job.id,
        "url": url,
        "type": event_of(job.status),
        "status": "pending",
        "attempts": 0,
        "created_at": at,
        "since": at,
        "due_at": at,
    }


def _ended(status: DeliveryStatus) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"status": status, "finished_at": now, "expires_at": now + _KEPT, "due_at": None}


def _read(document: dict[str, Any]) -> Delivery:
    return Delivery(
        id=document["_id"],
        user_id=document["user_id"],
        job_id=document["job_id"],
        url=document["url"],
        type=document["type"],
        status=document["status"],
        attempts=document["attempts"],
        created_ms=_to_ms(document["created_at"]) or 0,
        since_ms=_to_ms(document["since"]) or 0,
        due_ms=_to_ms(document.get("due_at")),
        finished_ms=_to_ms(document.get("finished_at")),
        response_status=document.get("response_status"),
        error=document.get("error"),
    )


def _to_ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.astimezone(UTC).timestamp() * 1000)
