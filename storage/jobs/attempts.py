"""A worker's right to a job: claim it, keep the lease, write under the fence, end it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from core import events
from core.events import NewEvent
from core.ids import shard_of
from core.jobs import TERMINAL_EVENT, JobSpec, JobStatus, Question
from core.outcome import Outcome, Spent
from core.team import parse_slot
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs.bounds import bounded
from storage.jobs.fields import to_question, to_spec, without_totals
from storage.jobs.script_values import (
    encode,
    now_iso,
    to_data,
    to_open_data,
    to_pairs,
    to_used,
)
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

#: A job that lost its worker this often fails as `worker_lost`.
MAX_ATTEMPTS: Final = 3
_EXCHANGES_KEPT: Final = 20
_CONVERSATION_TTL_S: Final = 7 * 24 * 3600


class Hold(StrEnum):
    """Whether a write under a fence counted."""

    HELD = "held"
    #: Held, and the user wants the job to end.
    CANCELLED = "cancelled"
    #: Another attempt has the job; nothing was written.
    LOST = "lost"


class Claim(Struct, frozen=True, kw_only=True):
    """One attempt at a job, or at one slot of it; the fence makes its writes refusable.

    Attributes:
        slot: the name of a `core.team.Slot`; empty for the whole job.
        was_parked: it waited for another job that asked the same, until now.
    """

    spec: JobSpec
    question: Question
    fence: str
    attempt: int
    accepted_ms: int
    slot: str = ""
    was_parked: bool = False

    @property
    def job_id(self) -> str:
        return self.spec.id

    @property
    def work_id(self) -> str:
        """Name the job or slot, the same in every attempt at it."""
        return f"{self.spec.id}/{self.slot}"


class Batch(Struct, frozen=True):
    """Events on their way to a job's log.

    Attributes:
        number: counts the batches of an attempt from 1, so that one whose answer was lost can be
            sent again and is appended once; 0 for one that is never sent again.
    """

    events: Sequence[NewEvent] = ()
    number: int = 0


NO_EVENTS: Final = Batch()


class Exchange(Struct, frozen=True):
    """One question of a conversation and its answer."""

    message: str
    answer: str


class Attempts:
    """The job scripts that workers use; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis, *, lease_s: int) -> None:
        self._redis = redis
        self._lease_ms = lease_s * 1000
        self._claim = Script(redis, "claim")
        self._renew = Script(redis, "renew")
        self._append = Script(redis, "append")
        self._finish = Script(redis, "finish")
        self._defer = Script(redis, "defer")

    def claim(self, job_id: str) -> Claim | None:
        """Start a new attempt, or return None when there is nothing to do (see `claim.lua`)."""
        fence = secrets.token_hex(8)
        arguments = [
            job_id,
            fence,
            self._lease_ms,
            now_iso(),
            MAX_ATTEMPTS,
            to_data(events.job_started(0)),
            to_data(events.job_retrying("worker_lost", 0)),
        ]
        found = self._claim.run(keys.of_script(job_id), arguments)
        if found is None:
            return None
        spec, question, attempt, accepted_ms, was_parked = found
        return Claim(
            spec=to_spec(spec),
            question=to_question(question, spec),
            fence=fence,
            attempt=attempt,
            accepted_ms=accepted_ms,
            was_parked=bool(was_parked),
        )

    def renew(self, claims: Sequence[Claim]) -> list[Hold]:
        """Keep the leases alive, in one round trip."""
        answers = self._renew.run_many(
            [
                (
                    keys.of_script(claim.job_id),
                    [claim.job_id, claim.slot, claim.fence, self._lease_ms],
                )
                for claim in claims
            ]
        )
        return [Hold(answer.decode()) for answer in answers]

    def append(self, batches: Sequence[tuple[Claim, Batch]]) -> list[Hold]:
        """Add events to the logs of several jobs, in one round trip; each batch is atomic.

        A batch that is sent again is not appended again.
        """
        at = now_iso()
        answers = self._append.run_many(
            [
                (
                    keys.of_script(claim.job_id)[:2],
                    [
                        claim.job_id,
                        claim.slot,
                        claim.fence,
                        at,
                        batch.number,
                        *to_pairs(batch.events),
                    ],
                )
                for claim, batch in batches
            ]
        )
        return [Hold(answer.decode()) for answer in answers]

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        outcome: Outcome,
        *,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> bool:
        """End the job: last events, outcome, settlement, terminal event, record. All or nothing.

        The job is charged what its account holds (deferred attempts, agents' replies) and what the
        outcome says.

        Args:
            outcome: its `usage` and `cost_micros` are those of the caller's own calls alone; its
                savings are those of all replies that it reports.
            unsure: a batch that was sent without an answer; appended first if it did not arrive.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        outcome = bounded(outcome)
        arguments: list[Any] = [
            claim.job_id,
            claim.slot,
            claim.fence,
            now_iso(),
            status.value,
            encode(without_totals(outcome)),
            *to_used(outcome.usage, outcome.cost_micros),
            TERMINAL_EVENT[status],
            to_open_data(events.job_ended(TERMINAL_EVENT[status], status.value, outcome)),
            _exchange_of(claim, status, outcome),
            _EXCHANGES_KEPT,
            _CONVERSATION_TTL_S,
            unsure.number,
            len(unsure.events),
            *to_pairs([*unsure.events, *last_events]),
        ]
        return bool(self._finish.run(_finish_keys(claim.spec), arguments))

    def defer(
        self,
        claim: Claim,
        wait_s: float,
        *,
        reason: str,
        used: Spent,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> bool:
        """Give the job, or the slot, back to the queue for `wait_s`; the attempt does not count.

        Args:
            used: by this attempt alone; the job pays for it when it ends.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        slot = parse_slot(claim.slot) if claim.slot else None
        retrying = events.job_retrying(
            reason,
            claim.attempt,
            agent=slot.speaker if slot else None,
            round_number=slot.round if slot else None,
            retry_after_s=wait_s,
        )
        arguments = [
            claim.job_id,
            claim.slot,
            claim.fence,
            now_iso(),
            int(wait_s * 1000),
            to_data(retrying),
            *to_used(used.usage, used.cost_micros),
            unsure.number,
            len(unsure.events),
            *to_pairs([*unsure.events, *last_events]),
        ]
        return bool(self._defer.run(keys.of_script(claim.job_id), arguments))

    def conversation(self, spec: JobSpec) -> list[Exchange]:
        """Return the latest exchanges of the job's conversation, oldest first."""
        if spec.conversation_id is None:
            return []
        with coordinator_errors():
            rows: Any = self._redis.lrange(
                keys.conversation(spec.user_id, spec.conversation_id), 0, -1
            )
        return [msgspec.json.decode(row, type=Exchange) for row in rows]


def _finish_keys(spec: JobSpec) -> list[str]:
    return [
        keys.job(spec.id),
        keys.events(spec.id),
        keys.active(spec.user_id),
        keys.spend(spec.user_id, spec.created_ms),
        keys.dispatch(spec.id),
        keys.records(shard_of(spec.id)),
        keys.conversation(spec.user_id, spec.conversation_id)
        if spec.conversation_id
        else keys.job(spec.id),
    ]


def _exchange_of(claim: Claim, status: JobStatus, outcome: Outcome) -> bytes:
    """Return what the conversation remembers of the job; nothing of one that did not complete."""
    if claim.spec.conversation_id is None or status is not JobStatus.COMPLETED:
        return b""
    if outcome.answer is None:
        return b""
    return encode(Exchange(claim.question.message, outcome.answer.text))
