"""Conversations in MongoDB: their names and titles, and the jobs that are their messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pymongo import UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError, DuplicateKeyError

from core.conversation_errors import ConversationExists
from core.conversations import Conversation, TitledBy
from core.jobs import JobSpec, JobStatus, Question
from core.words import MOST_WORDS, words_of
from storage.failures import store_errors
from storage.records.documents import to_question, to_time
from storage.records.keyset import Key, newest_behind, oldest_behind, page, with_time

if TYPE_CHECKING:
    from pymongo.database import Database

MOST_TITLE_CHARS: Final = 200
#: A title that is the beginning of a question.
_FIRST_CHARS: Final = 80
_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)
#: The latest of so many conversations that match a search are found.
_MOST_MATCHES: Final = 1_000
_MESSAGE: Final = {
    "status": 1,
    "created_at": 1,
    "question": 1,
    "spec.message": 1,
    "spec.parent_id": 1,
    "spec.turn": 1,
    "spec.run_at_ms": 1,
    "spec.conversation_id": 1,
    "outcome.answer.text": 1,
}


class Message(Struct, frozen=True, kw_only=True):
    """A question of a conversation and its answer: one job.

    Attributes:
        id: the job's.
        turn: 1 for one without a parent, and so on; 0 for one of a version before conversations.
        status: as it was recorded; `queued` until the end is.
        answer: None where there is none, or it is not recorded yet.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    turn: int
    status: JobStatus
    created_ms: int
    run_at_ms: int | None
    question: str
    answer: str | None

    @property
    def key(self) -> tuple[int, str]:
        """Where it stands among its conversation's messages."""
        return self.created_ms, self.id


class Conversations:
    """The collection; every method raises StoreUnavailable when MongoDB is away.

    A conversation's id is unique for its user, who may choose it.
    """

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._conversations = database.get_collection(
            "conversations", write_concern=WriteConcern("majority")
        )
        majority = WriteConcern("majority")
        self._jobs = database.get_collection("jobs", write_concern=majority)
        self._feedback = database.get_collection("feedback", write_concern=majority)

    def create(self, user_id: str, name: str, title: str | None, at_ms: int) -> Conversation:
        """Begin a conversation without messages.

        Raises:
            ConversationExists: the user has one with this id.
        """
        at = to_time(at_ms)
        given = {"title": title, "titled_by": "user" if title else "nobody"}
        document = {
            "_id": _key(user_id, name),
            "user_id": user_id,
            "name": name,
            "created_at": at,
            "updated_at": at,
            "words": list(words_of(title or "")),
        } | given
        with store_errors():
            try:
                self._conversations.insert_one(document)
            except DuplicateKeyError:
                raise ConversationExists from None
        return _read(document)

    def note_messages(
        self, messages: Iterable[tuple[JobSpec, Question | None]], *, within_s: float | None = None
    ) -> None:
        """Remember that messages were accepted; a first one gives its conversation a title.

        A repeat changes nothing. Jobs outside of conversations are passed over.
        """
        changes = [
            change
            for spec, question in messages
            if spec.turn and spec.conversation_id and question is not None
            for change in _note(spec, spec.conversation_id, question.message)
        ]
        if changes:
            with store_errors(within_s=within_s):
                try:
                    self._conversations.bulk_write(changes)
                except BulkWriteError:
                    # Another process has made the same conversation in between.
                    self._conversations.bulk_write(changes)

    def get(self, user_id: str, name: str) -> Conversation | None:
        with store_errors():
            found = self._conversations.find_one({"_id": _key(user_id, name)})
        return None if found is None else _read(found)

    def latest(
        self, user_id: str, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[Conversation]:
        """Return a user's conversations, the latest used first, behind `(updated_ms, id)`."""
        # A bound also where there is none: else the embedded server takes the index of the words.
        span = newest_behind(before) or {"$lt": _END_OF_TIME}
        chosen = {"user_id": user_id, "updated_at": span}
        with store_errors():
            found = self._conversations.find(chosen).sort([("updated_at", -1), ("_id", -1)])
            read = map(_read, found.batch_size(limit + 1))
            return page(
                read, lambda one: (one.updated_ms, one.id), before, newest_first=True, limit=limit
            )

    def search(self, user_id: str, text: str, *, limit: int) -> list[Conversation]:
        """Return those whose title or first question has words that begin with each of the text's.

        The latest used first, of the first thousand that match.
        """
        words = words_of(text)
        if not words:
            return []
        each = [{"words": {"$elemMatch": {"$gte": w, "$lt": w + "\U0010ffff"}}} for w in words]
        with store_errors():
            found = self._conversations.find({"user_id": user_id, "$and": each})
            matches = [_read(document) for document in found.limit(_MOST_MATCHES)]
        return sorted(matches, key=lambda one: (-one.updated_ms, one.id))[:limit]

    def rename(
        self, user_id: str, name: str, title: str, *, by: TitledBy = "user"
    ) -> Conversation | None:
        """Set the title; a model's does not replace a user's. None where there is no such."""
        kept = [] if by == "user" else ["user"]
        chosen = {"_id": _key(user_id, name), "titled_by": {"$nin": kept}}
        with store_errors():
            before = self._conversations.find_one(chosen, {"words": 1})
            if before is None:
                return None
            words = dict.fromkeys((*words_of(title), *before["words"]))
            changes = {"title": title, "titled_by": by, "words": list(words)[:MOST_WORDS]}
            self._conversations.update_one(chosen, {"$set": changes})
        return self.get(user_id, name)

    def delete(self, user_id: str, name: str) -> bool:
        """Remove the conversation, not its messages; say whether there was one."""
        with store_errors():
            return self._conversations.delete_one({"_id": _key(user_id, name)}).deleted_count == 1

    def latest_message(self, user_id: str, name: str) -> Message | None:
        """Return the message that was accepted last; None where there is none."""
        return next(iter(self.messages_before(user_id, name, limit=1)), None)

    def message(self, user_id: str, job_id: str) -> Message | None:
        """Return a job of the user that is a message of a conversation."""
        with store_errors():
            found = self._jobs.find_one({"_id": job_id, "user_id": user_id}, _MESSAGE)
        is_message = found is not None and found["spec"].get("conversation_id") is not None
        return _read_message(found) if found and is_message else None

    def messages_before(
        self, user_id: str, name: str, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[Message]:
        """Return messages, the latest first, behind the `Message.key` of `before`."""
        return self._messages(user_id, name, limit, before, newest_first=True)

    def messages_after(
        self, user_id: str, name: str, *, limit: int, after: tuple[int, str] | None = None
    ) -> list[Message]:
        """Return messages, the oldest first, behind the `Message.key` of `after`."""
        return self._messages(user_id, name, limit, after, newest_first=False)

    def _messages(
        self,
        user_id: str,
        name: str,
        limit: int,
        behind: Key | None,
        *,
        newest_first: bool,
    ) -> list[Message]:
        span = newest_behind(behind) if newest_first else oldest_behind(behind)
        of_conversation = {"user_id": user_id, "spec.conversation_id": name}
        direction = -1 if newest_first else 1
        with store_errors():
            found = self._jobs.find(with_time(of_conversation, "created_at", span), _MESSAGE)
            ordered = found.sort([("created_at", direction), ("_id", direction)])
            read = map(_read_message, ordered.batch_size(limit + 1))
            return page(read, lambda one: one.key, behind, newest_first=newest_first, limit=limit)

    def remove_messages(self, user_id: str, job_ids: Sequence[str]) -> None:
        """Remove the records of messages and their ratings; the ledger keeps what they cost."""
        chosen = {"user_id": user_id, "_id": {"$in": list(job_ids)}}
        with store_errors():
            self._feedback.delete_many(chosen)
            self._jobs.delete_many(chosen)


def _note(spec: JobSpec, name: str, question: str) -> tuple[UpdateOne, UpdateOne]:
    key, at = _key(spec.user_id, name), to_time(spec.created_ms)
    titled = {
        "title": " ".join(question.split())[:_FIRST_CHARS],
        "titled_by": "question",
        "words": list(words_of(question)),
    }
    begun = {"user_id": spec.user_id, "name": name, "created_at": at} | titled
    return (
        UpdateOne({"_id": key}, {"$setOnInsert": begun, "$max": {"updated_at": at}}, upsert=True),
        # One that was created without a title gets its first question's.
        UpdateOne({"_id": key, "titled_by": "nobody"}, {"$set": titled}),
    )


def _key(user_id: str, name: str) -> str:
    return f"{user_id}/{name}"


def _to_ms(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp() * 1000)


def _read(document: dict[str, Any]) -> Conversation:
    return Conversation(
        id=document["name"],
        user_id=document["user_id"],
        title=document.get("title"),
        titled_by=document["titled_by"],
        created_ms=_to_ms(document["created_at"]),
        updated_ms=_to_ms(document["updated_at"]),
    )


def _read_message(document: dict[str, Any]) -> Message:
    spec, outcome = document["spec"], document.get("outcome") or {}
    return Message(
        id=document["_id"],
        conversation_id=spec["conversation_id"],
        parent_id=spec.get("parent_id"),
        turn=spec.get("turn", 0),
        status=JobStatus(document["status"]),
        created_ms=_to_ms(document["created_at"]),
        # The driver has a type of its own for whole numbers of 64 bits.
        run_at_ms=None if spec.get("run_at_ms") is None else int(spec["run_at_ms"]),
        question=to_question(document).message,
        answer=(outcome.get("answer") or {}).get("text"),
    )
