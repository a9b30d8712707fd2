"""A team's work on a job: hand it to the agents, take their replies, see the round end.

A worker's right to a slot is a `Claim` like that to a whole job, so leases, events and the end of
the job go through `storage/jobs/attempts.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from core.errors import SlotUnavailable
from core.events import NewEvent
from core.jobs import JobSpec
from core.reservation import shares_of
from core.team import MemberReply, Slot, TeamPlan, end_of, parse_slot
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs import fields
from storage.jobs.bounds import bounded_report
from storage.jobs.claims import NO_EVENTS, Batch, Claim, Hold
from storage.jobs.script_values import encode, now_iso, to_pairs, to_used
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

#: How long after its deadline the sweeper looks at a job whose agents all fell silent.
_GRACE_MS: Final = 1_000

_plan_decoder = msgspec.json.Decoder(TeamPlan)
_reply_decoder = msgspec.json.Decoder(MemberReply)


class SlotClaim(Struct, frozen=True, kw_only=True):
    """One attempt at a slot, and what its worker has to know; times are Unix milliseconds.

    Attributes:
        started_ms: when the job was first claimed.
    """

    claim: Claim
    slot: Slot
    plan: TeamPlan
    started_ms: int


class TeamState(Struct, frozen=True, kw_only=True):
    """How far a team is.

    Attributes:
        replies: every one the job has, by round and in the team's order.
        is_ending: a round's end was begun, so readers may have part of an answer.
    """

    plan: TeamPlan
    replies: list[MemberReply]
    is_ending: bool


class RoundState(Struct, frozen=True):
    """Where a round stands after a report.

    Attributes:
        left: agents that are still to report.
        unwoken: units that no waiting thread was woken for.
        is_cancelled: the job is to end.
        running: slots that live workers hold.
    """

    left: int
    unwoken: int
    is_cancelled: bool
    running: int


class Teams:
    """The team scripts that workers use; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis, *, lease_s: int) -> None:
        self._redis = redis
        self._lease_ms = lease_s * 1000
        self._start_round = Script(redis, "start_round", behind=WITH_LINES)
        self._take_slot = Script(redis, "take_slot", behind=WITH_LINES)
        self._report = Script(redis, "report", behind=WITH_LINES)

    def start_round(
        self,
        holder: Claim,
        plan: TeamPlan,
        slots: Sequence[Slot],
        *,
        deadline_ms: int,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> Hold:
        """Let go of `holder` and leave the job to the agents of one round.

        Args:
            slots: an agent's turn each, all of the same round.
            deadline_ms: when their time is over, Unix milliseconds.

        Returns:
            CANCELLED when it is theirs and the user wants it to end; LOST when another attempt has
            the job by now: then nothing was changed.
        """
        spec = holder.spec
        arguments: list[Any] = [
            spec.id,
            holder.slot,
            holder.fence,
            now_iso(),
            encode(plan),
            end_of(slots[0].round).name,
            deadline_ms,
            holder.deadline_ms + _GRACE_MS,
            unsure.number,
            len(unsure.events),
            len(slots),
            *(slot.name for slot in slots),
            *to_pairs([*unsure.events, *last_events]),
        ]
        return Hold(self._start_round.run(keys.of_script(spec.id), arguments).decode())

    def take_slot(self, job_id: str, slot: Slot) -> SlotClaim | None:
        """Take a slot that nobody will work on any more, so as to report for it.

        Returns:
            None when there is nothing to report.

        Raises:
            SlotUnavailable: a live worker has it.
        """
        fence = secrets.token_hex(8)
        answer, *found = self._take_slot.run(
            keys.of_script(job_id), [job_id, slot.name, fence, self._lease_ms]
        )
        if answer == b"held":
            raise SlotUnavailable
        return to_slot_claim(slot, fence, found) if answer == b"claimed" else None

    def report(
        self,
        slot_claim: SlotClaim,
        reply: MemberReply,
        *,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> RoundState | None:
        """Keep an agent's reply, whose own usage the job pays for when it ends.

        Returns:
            None when another attempt has the slot; then nothing is kept.
        """
        claim, report = slot_claim.claim, bounded_report(reply.report)
        arguments: list[Any] = [
            claim.job_id,
            claim.slot,
            claim.fence,
            now_iso(),
            encode(replace(reply, report=report)),
            *to_used(report.usage, report.cost_micros),
            unsure.number,
            len(unsure.events),
            *to_pairs([*unsure.events, *last_events]),
        ]
        found = self._report.run(keys.of_script(claim.job_id), arguments)
        if found is None:
            return None
        left, unwoken, cancelled, running = found
        return RoundState(left, unwoken, bool(cancelled), running)

    def replies(self, job_id: str) -> list[MemberReply]:
        """Return every reply the job has, by round and in the team's order."""
        state = self.read(job_id)
        return state.replies if state else []

    def read(self, job_id: str) -> TeamState | None:
        """Return how far the job's team is; None when the job has none (yet)."""
        with coordinator_errors():
            top: Any = self._redis.hmget(keys.job(job_id), fields.TEAM)
            plan, names = top
            if plan is None:
                return None
            slots = [parse_slot(name) for name in names.decode().split()]
            wanted = [
                fields.of_slot(slot.name, fields.END_ATTEMPTS if slot.is_end else fields.REPLY)
                for slot in slots
            ]
            values: Any = self._redis.hmget(keys.job(job_id), wanted)
        found = list(zip(slots, values, strict=True))
        return TeamState(
            plan=_plan_decoder.decode(plan),
            replies=[_reply_decoder.decode(row) for slot, row in found if row and not slot.is_end],
            is_ending=any(int(row or 0) for slot, row in found if slot.is_end),
        )


def to_slot_claim(slot: Slot, fence: str, found: Sequence[Any]) -> SlotClaim:
    """Read what the scripts answer that give a slot to somebody."""
    spec, question, plan, attempt, queued_ms, deadline_ms, accepted_ms, started_ms, *money = found
    claim = Claim(
        **to_money(fields.to_spec(spec), money),
        question=fields.to_question(question, spec),
        fence=fence,
        attempt=attempt,
        accepted_ms=accepted_ms,
        queued_ms=queued_ms,
        deadline_ms=deadline_ms,
        slot=slot.name,
    )
    return SlotClaim(claim=claim, slot=slot, plan=_plan_decoder.decode(plan), started_ms=started_ms)


def to_money(spec: JobSpec, found: Sequence[Any]) -> dict[str, Any]:
    """Return a claim's spec and what is held for it and was paid, as the scripts answer it.

    What the accept held is for all likely calls of the job, in equal shares. A slot that is taken
    over calls nobody, and a job that the version before took in says nothing of it.
    """
    held, granted, paid = found or (b"", b"", 0)
    share = int(held or spec.reserved_micros) // shares_of(spec.team)
    return {
        "spec": spec,
        "held_micros": share,
        "granted_micros": int(granted or share),
        "paid_micros": paid,
    }
