"""What the version before branches kept of conversations: lists of exchanges, for a week."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis


class Exchange(Struct, frozen=True):
    """One question of a conversation and its answer."""

    message: str
    answer: str


def read_conversation(redis: Redis, user_id: str, conversation_id: str) -> list[Exchange]:
    """Return what is left of a user's conversation, oldest first; nothing writes these any more.

    Raises:
        CoordinatorUnavailable: Redis is away.
    """
    with coordinator_errors():
        rows: Any = redis.lrange(keys.conversation(user_id, conversation_id), 0, -1)
    return [msgspec.json.decode(row, type=Exchange) for row in rows]
