"""The routes about conversations."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flask import Response

from core.conversation_errors import (
    ConversationBusy,
    ConversationExists,
    ConversationNotFound,
)
from core.errors import CoordinatorUnavailable, InvalidRequest, StoreUnavailable
from core.public import CONVERSATIONS_PATH, public_conversation
from core.timing import now_ms
from web.accounts.auth import current_user, require_user
from web.conversations import schemas
from web.conversations.messages import (
    all_messages,
    as_they_stand,
    public_message,
    remove_messages,
    to_json,
    to_markdown,
)
from web.http.cursors import read_cursor, to_cursor
from web.http.openapi import returns, routes
from web.services import current_services

if TYPE_CHECKING:
    from core.conversations import Conversation

conversations_api = routes(
    "conversations", __name__, "Conversations and their branches.", prefix=CONVERSATIONS_PATH
)
conversations_api.before_request(require_user)


@conversations_api.post(
    "",
    **returns(
        {201: (schemas.Conversation, "The conversation, without messages.")},
        ConversationExists,
        StoreUnavailable,
    ),
)
def create_conversation(body: schemas.NewConversation) -> Any:
    """Begin a conversation; a job with a `conversation_id` of your choice begins one, too."""
    name = body.id or f"conv_{secrets.token_hex(12)}"
    conversations = current_services().conversations
    return public_conversation(
        conversations.create(current_user().id, name, body.title, now_ms())
    ), 201


@conversations_api.get(
    "",
    **returns(
        {200: (schemas.ConversationList, "Conversations, the latest used first.")},
        StoreUnavailable,
    ),
)
def list_conversations(query: schemas.ConversationsQuery) -> Any:
    """Return your conversations, or those that a search finds."""
    conversations, user_id = current_services().conversations, current_user().id
    if query.q is not None and query.cursor is not None:
        raise InvalidRequest("Give `q` or `cursor`: a search has one page.", field="cursor")
    if query.q is not None:
        found = conversations.search(user_id, query.q, limit=query.limit)
    else:
        before = read_cursor(query.cursor)
        found = conversations.latest(user_id, limit=query.limit, before=before)
    has_more = query.q is None and len(found) == query.limit
    return {
        "object": "list",
        "data": [public_conversation(one) for one in found],
        "next_cursor": to_cursor(found[-1].updated_ms, found[-1].id) if has_more else None,
    }


@conversations_api.get(
    "/<string:conversation_id>",
    **returns(
        {200: (schemas.Conversation, "The conversation.")}, ConversationNotFound, StoreUnavailable
    ),
)
def get_conversation(path: schemas.ConversationPath) -> Any:
    """Return one conversation, without its messages."""
    return public_conversation(_find(path.conversation_id))


@conversations_api.patch(
    "/<string:conversation_id>",
    **returns(
        {200: (schemas.Conversation, "The conversation, changed.")},
        ConversationNotFound,
        StoreUnavailable,
    ),
)
def rename_conversation(path: schemas.ConversationPath, body: schemas.ConversationChange) -> Any:
    """Give a conversation a title, which stays."""
    conversations = current_services().conversations
    found = conversations.rename(current_user().id, path.conversation_id, body.title)
    if found is None:
        raise ConversationNotFound
    return public_conversation(found)


@conversations_api.delete(
    "/<string:conversation_id>",
    **returns(
        {204: (None, "The conversation is gone, with its messages.")},
        ConversationNotFound,
        ConversationBusy,
        CoordinatorUnavailable,
        StoreUnavailable,
    ),
)
def delete_conversation(path: schemas.ConversationPath) -> Any:
    """Delete a conversation with all its messages; what they cost stays in the ledger."""
    services, user_id = current_services(), current_user().id
    name = _find(path.conversation_id).id
    remove_messages(services, user_id, name)
    services.conversations.delete(user_id, name)
    return "", 204


@conversations_api.get(
    "/<string:conversation_id>/messages",
    **returns(
        {200: (schemas.MessageList, "Messages, the oldest first.")},
        ConversationNotFound,
        CoordinatorUnavailable,
        StoreUnavailable,
    ),
)
def list_messages(path: schemas.ConversationPath, query: schemas.MessagesQuery) -> Any:
    """Return the messages of all branches; `parent_id` makes them a tree."""
    services, user_id = current_services(), current_user().id
    name, after = _find(path.conversation_id).id, read_cursor(query.cursor)
    recorded = services.conversations.messages_after(user_id, name, limit=query.limit, after=after)
    messages = as_they_stand(services, recorded)
    return {
        "object": "list",
        "data": [public_message(message) for message in messages],
        "next_cursor": to_cursor(*messages[-1].key) if len(messages) == query.limit else None,
    }


@conversations_api.get(
    "/<string:conversation_id>/export",
    **returns(
        {200: (schemas.ExportedConversation, "The conversation as a file.")},
        ConversationNotFound,
        CoordinatorUnavailable,
        StoreUnavailable,
        text_type="text/markdown",
    ),
)
def export_conversation(path: schemas.ConversationPath, query: schemas.ExportQuery) -> Any:
    """Return the conversation with all its messages, as Markdown or JSON."""
    services, user_id = current_services(), current_user().id
    found = _find(path.conversation_id)
    # What fails before the first message is still an answer of its own.
    messages = iter(list(all_messages(services, user_id, found.id)))
    is_json = query.format == "json"
    lines = (
        to_json(public_conversation(found), messages) if is_json else to_markdown(found, messages)
    )
    response = Response(
        b"".join(lines), mimetype="application/json" if is_json else "text/markdown"
    )
    ending = "json" if is_json else "md"
    response.headers["Content-Disposition"] = f'attachment; filename="{found.id}.{ending}"'
    return response


def _find(name: str) -> Conversation:
    found = current_services().conversations.get(current_user().id, name)
    if found is None:
        raise ConversationNotFound
    return found
