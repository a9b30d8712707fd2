"""The schemas of requests and responses about conversations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from core.conversations import TitledBy
from core.jobs import JobStatus
from storage.records.conversations import MOST_TITLE_CHARS
from web.http.schemas import Documented, Query, RequestBody, ResponseBody, Time
from web.jobs.schemas import WHOLE_NUMBER, Identifier

Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_TITLE_CHARS)
]


class ConversationPath(Documented):
    """Which conversation."""

    conversation_id: str
    """The conversation's id."""


class NewConversation(RequestBody):
    """A conversation that is to begin."""

    id: Identifier | None = None
    """Its id, of your choice; null for one that is made up."""
    title: Title | None = None
    """What it is called; null for the beginning of its first question."""


class ConversationChange(RequestBody):
    """What is to be different."""

    title: Title
    """What it is called from now on."""


class ConversationsQuery(Query):
    """Which conversations."""

    limit: Annotated[int, Field(ge=1, le=100), WHOLE_NUMBER] = 20
    """How many a page has at most."""
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """`next_cursor` of the page before; not with `q`."""
    q: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """Words, of whose beginnings each is in the title or the first question."""


class MessagesQuery(Query):
    """Which messages."""

    limit: Annotated[int, Field(ge=1, le=200), WHOLE_NUMBER] = 100
    """How many a page has at most."""
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """`next_cursor` of the page before."""


class ExportQuery(Query):
    """In which form."""

    format: Literal["markdown", "json"] = "markdown"
    """Text for people, or the messages as JSON."""


class ConversationLinks(ResponseBody):
    """Where to go from here."""

    self: str
    messages: str
    export: str


class Conversation(ResponseBody):
    """A conversation, without its messages."""

    id: str
    object: Literal["conversation"]
    title: str | None
    titled_by: TitledBy
    """Who gave the title; one that the user gave stays."""
    created_at: Time
    updated_at: Time
    """When its latest message was accepted."""
    links: ConversationLinks


class ConversationList(ResponseBody):
    """One page of conversations, the latest used first."""

    object: Literal["list"]
    data: list[Conversation]
    next_cursor: str | None
    """Leads to the next page; null on the last one, and for a search."""


class Message(ResponseBody):
    """A question and its answer."""

    id: str
    """The id of the job that answers it."""
    object: Literal["message"]
    parent_id: str | None
    """The message before; several with the same one are branches."""
    turn: int
    """How many messages its branch has, with it."""
    status: JobStatus
    created_at: Time
    message: str
    """The question."""
    answer: str | None
    """What was answered, as far as it is there."""


class ExportedConversation(Conversation):
    """A conversation with all its messages."""

    messages: list[Message]


class MessageList(ResponseBody):
    """One page of a conversation's messages, the oldest first."""

    object: Literal["list"]
    data: list[Message]
    next_cursor: str | None
    """Leads to the next page; null on the last one."""
