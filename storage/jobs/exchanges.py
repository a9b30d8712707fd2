"""What conversations remember of their jobs: questions and answers, for a week."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from core.jobs import JobSpec, JobStatus, Question
from core.outcome import Outcome
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs.script_values import encode

if TYPE_CHECKING:
    from redis import Redis

EXCHANGES_KEPT: Final = 20
CONVERSATION_TTL_S: Final = 7 * 24 * 3600


class Exchange(Struct, frozen=True):
    """One question of a conversation and its answer."""

    message: str
    answer: str


def exchange_of(spec: JobSpec, question: Question, status: JobStatus, outcome: Outcome) -> bytes:
    """Return what the conversation remembers of the job; nothing of one that did not complete."""
    if spec.conversation_id is None or status is not JobStatus.COMPLETED:
        return b""
    if outcome.answer is None:
        return b""
    return encode(Exchange(question.message, outcome.answer.text))


def read_exchanges(redis: Redis, spec: JobSpec) -> list[Exchange]:
    """Return the latest exchanges of the job's conversation, oldest first.

    Raises:
        CoordinatorUnavailable: Redis is away.
    """
    if spec.conversation_id is None:
        return []
    return read_conversation(redis, spec.user_id, spec.conversation_id)


def read_conversation(redis: Redis, user_id: str, conversation_id: str) -> list[Exchange]:
    """Return what is remembered of a user's conversation, oldest first.

    Raises:
        CoordinatorUnavailable: Redis is away.
    """
    with coordinator_errors():
        rows: Any = redis.lrange(keys.conversation(user_id, conversation_id), 0, -1)
    return [msgspec.json.decode(row, type=Exchange) for row in rows]
