"""A conversation: messages of one user, each a job, that go on with one another."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: Who gave the title: nobody yet, the first question, a model, or the user, whose title stays.
TitledBy = Literal["nobody", "question", "model", "user"]


class Conversation(Struct, frozen=True, kw_only=True):
    """A conversation without its messages; times are Unix milliseconds."""

    id: str
    user_id: str
    title: str | None
    titled_by: TitledBy
    created_ms: int
    updated_ms: int
