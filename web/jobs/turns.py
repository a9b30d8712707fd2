"""Where a question stands in its conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.conversation_errors import ConversationBusy, ParentInOtherConversation, UnknownParent
from core.errors import InvalidConcurrency
from core.jobs import TERMINAL

if TYPE_CHECKING:
    from storage.records.conversations import Message
    from web.jobs.schemas import AskRequest
    from web.services import WebServices

#: What `parent_id` says of a message that begins a branch of its own.
ROOT: Final = "root"


class Turn(Struct, frozen=True):
    """Where a message stands.

    Attributes:
        number: 1 for one without a parent, and so on; 0 outside of a conversation.
        not_before_ms: when its parent is to start, where that is still to come.
    """

    conversation_id: str | None = None
    parent_id: str | None = None
    number: int = 0
    not_before_ms: int | None = None


def turn_of(services: WebServices, user_id: str, request: AskRequest) -> Turn:
    """Return where the question stands; costs nothing outside of conversations.

    Without `parent_id` it goes on with the message that was accepted last.

    Raises:
        UnknownParent, ParentInOtherConversation: `parent_id` does not fit.
        ConversationBusy: the message before has not ended, and the request would not wait.
        InvalidConcurrency: it has a concurrency key, too.
        StoreUnavailable, CoordinatorUnavailable: a server is away.
    """
    name, parent_id = request.conversation_id, request.parent_id
    if name is None and parent_id is None:
        return Turn()
    if request.concurrency_key is not None:
        raise InvalidConcurrency(
            "Leave out `concurrency_key`: messages of a conversation run one after another.",
            field="concurrency_key",
        )
    if parent_id == ROOT:
        if name is None:
            raise UnknownParent("`parent_id` can be `root` with a `conversation_id` only.")
        return Turn(name, None, 1)
    parent = (
        services.conversations.latest_message(user_id, name or "")
        if parent_id is None
        else _named_parent(services, user_id, parent_id, name)
    )
    # One of before branches has no place in any; its worker finds what is left of it.
    if parent is None or not parent.turn:
        return Turn(name or (parent.conversation_id if parent else None), None, 1)
    return _behind(services, parent, rejects=request.on_busy == "reject")


def _named_parent(services: WebServices, user_id: str, parent_id: str, name: str | None) -> Message:
    parent = services.conversations.message(user_id, parent_id)
    if parent is None:
        raise UnknownParent(field="parent_id")
    if name not in (None, parent.conversation_id):
        raise ParentInOtherConversation(field="parent_id")
    return parent


def _behind(services: WebServices, parent: Message, *, rejects: bool) -> Turn:
    not_before_ms = None
    if parent.status not in TERMINAL:
        # The record says `queued` until the end is written.
        live = services.job_store.get(parent.id)
        is_over = live is not None and live.is_terminal
        if rejects and not is_over:
            raise ConversationBusy
        not_before_ms = None if is_over else parent.run_at_ms
    return Turn(parent.conversation_id, parent.id, parent.turn + 1, not_before_ms)
