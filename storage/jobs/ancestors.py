"""The jobs that a message of a conversation goes on with, as far as Redis has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from core.jobs import JobStatus
from core.outcome import Outcome
from storage.jobs import fields
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

#: No model is given more of a conversation.
MOST_ANCESTORS: Final = 200
MOST_BYTES: Final = 2_000_000


class Ancestor(Struct, frozen=True, kw_only=True):
    """An earlier message of the same branch; `answer` is None where it has none (yet)."""

    id: str
    status: JobStatus
    question: str
    answer: str | None


class Ancestors:
    """Walks up branches; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._walk = Script(redis, "ancestors", behind=WITH_LINES)

    def walk(self, job_id: str) -> tuple[list[Ancestor], str]:
        """Return the job and those before it, the latest first, and the id of the next one.

        The walk ends at a job that Redis does not have, whose id is returned, or at the root: then
        the id is empty.
        """
        next_id, *found = self._walk.run([], [job_id, MOST_ANCESTORS, MOST_BYTES])
        jobs = [_read(*found[at : at + 5]) for at in range(0, len(found), 5)]
        return jobs, next_id.decode()


def _read(job_id: bytes, spec: bytes, question: bytes, status: bytes, outcome: bytes) -> Ancestor:
    answer = msgspec.json.decode(outcome, type=Outcome).answer if outcome else None
    return Ancestor(
        id=job_id.decode(),
        status=JobStatus(status.decode()),
        question=fields.to_question(question or None, spec).message,
        answer=answer.text if answer else None,
    )
