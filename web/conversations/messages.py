"""A conversation's messages as they stand now, and as a text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import structs

from core.conversation_errors import ConversationBusy
from core.jobs import TERMINAL, JobStatus
from core.timing import iso_time

if TYPE_CHECKING:
    from core.conversations import Conversation
    from storage.records.conversations import Message
    from web.services import WebServices

_PAGE: Final = 200


def as_they_stand(services: WebServices, recorded: list[Message]) -> list[Message]:
    """Return the messages with their states; a record says `queued` until the end is written."""
    live = services.job_store.get_many([one.id for one in recorded if one.status not in TERMINAL])
    fresh = {job.id: job for job in live if job is not None}
    found = []
    for message in recorded:
        job = fresh.get(message.id)
        if job is not None:
            answer = job.outcome.answer if job.outcome else None
            text = answer.text if answer else None
            message = structs.replace(message, status=job.status, answer=text)
        found.append(message)
    return found


def all_messages(services: WebServices, user_id: str, name: str) -> Iterator[Message]:
    """Yield a conversation's messages, the oldest first."""
    after = None
    while page := services.conversations.messages_after(user_id, name, limit=_PAGE, after=after):
        yield from as_they_stand(services, page)
        after = page[-1].key


def remove_messages(services: WebServices, user_id: str, name: str) -> None:
    """Remove a conversation's messages from MongoDB and Redis; a repeat goes on.

    Raises:
        ConversationBusy: one has not ended, or its end is not recorded; nothing was removed.
    """
    ids = []
    for message in all_messages(services, user_id, name):
        if message.status not in TERMINAL:
            raise ConversationBusy
        ids.append(message.id)
    recorded = services.job_records.unfinished_of(user_id, ids)
    if recorded:
        # Its record would come back when its end is written.
        raise ConversationBusy
    for start in range(0, len(ids), _PAGE):
        part = ids[start : start + _PAGE]
        services.conversations.remove_messages(user_id, part)
        services.user_keys.forget_jobs(user_id, part, [name])


def to_markdown(conversation: Conversation, messages: Iterator[Message]) -> Iterator[bytes]:
    """Yield the conversation as Markdown, each message behind the one that it goes on with."""
    yield f"# {conversation.title or conversation.id}\n".encode()
    for message in messages:
        yield f"\n## {iso_time(message.created_ms)} `{message.id}`\n".encode()
        if message.parent_id is not None:
            yield f"\nGoes on with `{message.parent_id}`.\n".encode()
        yield f"\n**Question**\n\n{message.question}\n".encode()
        if message.answer:
            yield f"\n**Answer**\n\n{message.answer}\n".encode()
        if message.status is not JobStatus.COMPLETED:
            yield f"\n*{message.status.value}*\n".encode()


def to_json(conversation: dict[str, Any], messages: Iterator[Message]) -> Iterator[bytes]:
    """Yield the conversation as one JSON object, its messages last."""
    yield msgspec.json.encode(conversation)[:-1] + b',"messages":['
    comma = b""
    for message in messages:
        yield comma + msgspec.json.encode(public_message(message))
        comma = b","
    yield b"]}"


def public_message(message: Message) -> dict[str, Any]:
    """Return the message as every surface shows it."""
    return {
        "id": message.id,
        "object": "message",
        "parent_id": message.parent_id,
        "turn": message.turn,
        "status": message.status.value,
        "created_at": iso_time(message.created_ms),
        "message": message.question,
        "answer": message.answer,
    }
