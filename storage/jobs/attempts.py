"""A worker's right to a job: claim it, keep the lease, write under the fence, end it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from core.events import NewEvent
from core.ids import shard_of
from core.jobs import TERMINAL_EVENT, JobSpec, JobStatus
from core.outcome import Outcome, Spent
from core.team import parse_slot
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs.script_values import now_iso, terminal_data, to_pairs
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

#: A job that lost its worker this often fails as `worker_lost`.
MAX_ATTEMPTS: Final = 3
_TURNS_KEPT: Final = 20
_CONVERSATION_TTL_S: Final = 7 * 24 * 3600

_spec_decoder = msgspec.json.Decoder(JobSpec)
_spent_decoder = msgspec.json.Decoder(Spent)
_encode = msgspec.json.Encoder().encode


class Hold(StrEnum):
    """What a write under a fence tells its worker."""

    HELD = "held"
    #: Held, and the user wants the job to end.
    CANCELLED = "cancelled"
    #: Another attempt has the job; nothing was written.
    LOST = "lost"


class Claim(Struct, frozen=True, kw_only=True):
    """One attempt at a job, or at one slot of it; the fence makes its writes refusable.

    Attributes:
        slot: the name of a `core.team.Slot`; empty for the whole job.
        spent: by attempts that were deferred.
    """

    spec: JobSpec
    fence: str
    attempt: int
    accepted_ms: int
    slot: str = ""
    spent: Spent = Spent()

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


class Ending(Struct, frozen=True):
    """How an attempt ends its job; see `Attempts.finish`."""

    claim: Claim
    status: JobStatus
    outcome: Outcome
    unsure: Batch = NO_EVENTS
    last_events: Sequence[NewEvent] = ()


class Turn(Struct, frozen=True):
    """One finished exchange of a conversation."""

    message: str
    answer: str


class Attempts:
    """The workers' face of the job scripts; raises CoordinatorUnavailable when Redis is away."""

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
        found = self._claim.run(
            keys.of_script(job_id), [job_id, fence, self._lease_ms, now_iso(), MAX_ATTEMPTS]
        )
        if found is None:
            return None
        spec, attempt, accepted_ms, used = found
        return Claim(
            spec=_spec_decoder.decode(spec),
            fence=fence,
            attempt=attempt,
            accepted_ms=accepted_ms,
            spent=to_spent(used),
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

        Args:
            unsure: a batch that was sent without an answer; appended first if it did not arrive.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        call = _finish_call(Ending(claim, status, outcome, unsure, last_events))
        return bool(self._finish.run(*call))

    def finish_many(self, endings: Sequence[Ending]) -> list[bool]:
        """End several jobs as `finish` does, in one round trip; each is all or nothing."""
        return [bool(done) for done in self._finish.run_many(list(map(_finish_call, endings)))]

    def defer(
        self,
        claim: Claim,
        wait_s: float,
        *,
        reason: str,
        spent: Spent,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> bool:
        """Give the job back to the queue for `wait_s`; the attempt does not count.

        Args:
            spent: by all attempts so far, which the next claim will say.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        data = {"attempt": claim.attempt, "reason": reason, "retry_after_s": wait_s} | about(claim)
        arguments = [
            claim.job_id,
            claim.slot,
            claim.fence,
            now_iso(),
            int(wait_s * 1000),
            _encode(data),
            unsure.number,
            len(unsure.events),
            _encode(spent),
            *to_pairs([*unsure.events, *last_events]),
        ]
        return bool(self._defer.run(keys.of_script(claim.job_id), arguments))

    def conversation(self, spec: JobSpec) -> list[Turn]:
        """Return the latest finished turns of the job's conversation, oldest first."""
        if spec.conversation_id is None:
            return []
        with coordinator_errors():
            rows: Any = self._redis.lrange(
                keys.conversation(spec.user_id, spec.conversation_id), 0, -1
            )
        return [msgspec.json.decode(row, type=Turn) for row in rows]


def _finish_call(ending: Ending) -> tuple[list[str], list[Any]]:
    """Return keys and arguments of the script that ends a job."""
    claim, status, outcome = ending.claim, ending.status, ending.outcome
    spec, unsure = claim.spec, ending.unsure
    arguments: list[Any] = [
        spec.id,
        claim.slot,
        claim.fence,
        now_iso(),
        status.value,
        _encode(outcome),
        outcome.cost_micros,
        TERMINAL_EVENT[status],
        _encode(terminal_data(status, outcome)),
        _turn_of(spec, status, outcome),
        _TURNS_KEPT,
        _CONVERSATION_TTL_S,
        unsure.number,
        len(unsure.events),
        *to_pairs([*unsure.events, *ending.last_events]),
    ]
    return _finish_keys(spec), arguments


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


def about(claim: Claim) -> dict[str, Any]:
    """Return what an event has to say of whose work it is about: nothing for a whole job."""
    if not claim.slot:
        return {}
    slot = parse_slot(claim.slot)
    return {"agent": slot.speaker, "round": slot.round}


def to_spent(used: bytes) -> Spent:
    return _spent_decoder.decode(used) if used else Spent()


def _turn_of(spec: JobSpec, status: JobStatus, outcome: Outcome) -> bytes:
    """Return what the conversation remembers of the job; nothing of one that did not complete."""
    if spec.conversation_id is None or status is not JobStatus.COMPLETED or not outcome.answer:
        return b""
    return _encode(Turn(spec.message, outcome.answer.text))
