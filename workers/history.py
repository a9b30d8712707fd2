"""What a message of a conversation goes on with: the exchanges of its branch."""

from __future__ import annotations

from collections.abc import Iterator

from core.chat import Message
from core.errors import StoreUnavailable
from core.jobs import TERMINAL, JobSpec
from storage.jobs.ancestors import MOST_ANCESTORS, MOST_BYTES, Ancestor, Ancestors
from storage.jobs.exchanges import Exchange
from storage.jobs.user_keys import UserKeys
from storage.records.conversations import Conversations
from storage.records.conversations import Message as Recorded

_PAGE = 100


class HistoryNotReady(Exception):
    """The job cannot begin yet: an earlier message has not ended, or cannot be read."""


class Histories:
    """Reads branches: each message from Redis while it lives there, else from its record."""

    def __init__(
        self, ancestors: Ancestors, conversations: Conversations, user_keys: UserKeys
    ) -> None:
        self._ancestors = ancestors
        self._conversations = conversations
        self._user_keys = user_keys

    def of(self, spec: JobSpec) -> list[Message]:
        """Return the job's branch, oldest first: whole exchanges, as many as any model may get.

        Messages without an answer (failed, cancelled) are left out.

        Raises:
            HistoryNotReady: wait and try again.
            CoordinatorUnavailable: Redis is away.
        """
        if spec.conversation_id is None:
            return []
        exchanges, is_whole = self._branch(spec) if spec.parent_id else ([], True)
        if is_whole:
            # What a version without branches left; some of it may be here already.
            earlier = self._user_keys.conversation(spec.user_id, spec.conversation_id)
            exchanges += [one for one in reversed(earlier) if one not in exchanges]
        return [
            message
            for one in reversed(exchanges)
            for message in (Message("user", one.message), Message("assistant", one.answer))
        ]

    def _branch(self, spec: JobSpec) -> tuple[list[Exchange], bool]:
        """Return the exchanges before the job, latest first, and whether that is all of them."""
        found: list[Exchange] = []
        bytes_left = MOST_BYTES
        for number, one in enumerate(self._walk(spec)):
            if number >= MOST_ANCESTORS or bytes_left <= 0:
                return found, False
            if one.status not in TERMINAL:
                raise HistoryNotReady(f"{one.id} has not ended")
            if one.answer:
                found.append(Exchange(one.question, one.answer))
                bytes_left -= len(one.question) + len(one.answer)
        return found, True

    def _walk(self, spec: JobSpec) -> Iterator[Ancestor]:
        live, next_id = self._ancestors.walk(spec.parent_id or "")
        yield from live
        # Parents are older than their children, and what is older was let go before.
        for message in self._recorded(spec) if next_id else ():
            if message.id == next_id:
                yield Ancestor(
                    id=message.id,
                    status=message.status,
                    question=message.question,
                    answer=message.answer,
                )
                if message.parent_id is None:
                    return
                next_id = message.parent_id

    def _recorded(self, spec: JobSpec) -> Iterator[Recorded]:
        """Yield the conversation's messages on record, the latest first, page by page."""
        before = None
        while True:
            try:
                page = self._conversations.messages_before(
                    spec.user_id, spec.conversation_id or "", limit=_PAGE, before=before
                )
            except StoreUnavailable as error:
                raise HistoryNotReady("its record cannot be read") from error
            yield from page
            if len(page) < _PAGE:
                return
            before = page[-1].key
