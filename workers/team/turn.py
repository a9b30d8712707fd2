"""Several agents on one job: who they are, and one agent's turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog

from agents.answer import Turn, fallbacks_of
from agents.context import build_messages
from agents.team_prompts import Contribution, best_reply, build_revision
from core import events
from core.errors import CoordinatorUnavailable, SlotUnavailable
from core.events import NewEvent
from core.jobs import TeamRequest
from core.money import to_usd
from core.outcome import AgentReport, JobError, public_usage
from core.stop import StopReason, StopSignal
from core.team import Member, MemberReply, Slot, TeamPlan, end_of, parse_slot, round_deadline_ms
from storage.jobs.attempts import Hold
from workers.attempt import NOTHING_UNWRITTEN, Unwritten, defer, patiently
from workers.telling import history_of, listener, now_ms

if TYPE_CHECKING:
    from agents.answer import Reply
    from agents.selection import Team
    from storage.jobs.attempts import Claim
    from storage.jobs.teams import Seat
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)


def begin(
    runtime: Runtime,
    claim: Claim,
    team: Team,
    timing_ms: dict[str, int],
    fingerprint: str,
) -> None:
    """Hand the claimed job over to the team.

    Args:
        timing_ms: what the job has spent so far, by part.
        fingerprint: under which the answer is to be kept; empty if it is not.
    """
    request = claim.spec.team or TeamRequest()
    plan = TeamPlan(
        members=tuple(
            Member(
                agent=chosen.persona.name,
                tier=chosen.persona.tier,
                model=runtime.catalogue.for_tier(chosen.persona.tier).id,
                reason=chosen.reason,
            )
            for chosen in team.members
        ),
        reason=team.reason,
        rounds=request.rounds,
        quorum=min(request.quorum, len(team.members)),
        started_ms=now_ms(),
        timing_ms=timing_ms,
        fingerprint=fingerprint,
    )
    told = {"team": [msgspec.to_builtins(member) for member in plan.members], "reason": plan.reason}
    selected = NewEvent(events.ROUTE_SELECTED, told)
    start_round(runtime, claim, plan, 1, [member.agent for member in plan.members], [selected])


def start_round(
    runtime: Runtime,
    holder: Claim,
    plan: TeamPlan,
    number: int,
    agents: Sequence[str],
    last_events: Sequence[NewEvent] = (),
) -> None:
    """Let go of the job and send the agents of a round their turns."""
    spec = holder.spec
    request = spec.team or TeamRequest()
    deadline_ms = round_deadline_ms(
        now_ms(),
        spec.deadline_ms,
        rounds_left=plan.rounds - number + 1,
        agent_deadline_s=request.agent_deadline_s,
        is_synthesized=request.synthesis,
    )
    slots = [Slot(number, agent) for agent in agents]
    hold = runtime.teams.enlist(
        holder, plan, slots, deadline_ms=deadline_ms, last_events=last_events
    )
    match hold:
        case Hold.HELD:
            runtime.team_queue.start_round(spec.id, slots, end_of(number))
        case Hold.CANCELLED:
            _end_cancelled(runtime, spec.id)
        case Hold.LOST:
            logger.warning("another attempt has the job; this one ends")


def run_agent(runtime: Runtime, job_id: str, slot_name: str) -> str:
    """Take one agent's turn and return the slot's name, also when there is nothing left to do.

    Raises:
        SlotUnavailable: somebody else will report for this slot, so the chord must not count it.
        CoordinatorUnavailable: Redis is away; the sweeper sends the slot again.
    """
    seat = runtime.teams.join(job_id, parse_slot(slot_name))
    if seat is None:
        logger.info("nothing to do")
        return slot_name
    stop = StopSignal()
    deadline = time.monotonic() + (seat.deadline_ms - now_ms()) / 1000
    with runtime.keeper.hold(seat.claim, stop, deadline=deadline):
        try:
            reply, unwritten = _take_turn(runtime, seat, stop, deadline)
        except (CoordinatorUnavailable, SlotUnavailable):
            raise
        except Exception:
            # The outermost shell of a turn: a bug fails the agent, not the job.
            logger.exception("agent failed by a bug")
            error = JobError("internal_error", "Something went wrong.")
            reply, unwritten = failed_reply(seat, error), NOTHING_UNWRITTEN
        report(runtime, seat, reply, unwritten)
    return slot_name


def report(
    runtime: Runtime, seat: Seat, reply: MemberReply, unwritten: Unwritten = NOTHING_UNWRITTEN
) -> None:
    """Keep the agent's reply, and see to what nobody else will: a lost chord, a cancelled job."""
    unsure, last_events = unwritten
    told = [*last_events, _ended_event(reply)]
    state = patiently(lambda: runtime.teams.report(seat, reply, unsure=unsure, last_events=told))
    if state is None:
        logger.warning("another attempt has the slot; this reply does not count")
        raise SlotUnavailable
    logger.info("agent reported", agent=reply.report.name, status=reply.report.status)
    if state.is_cancelled and not state.running:
        _end_cancelled(runtime, seat.claim.job_id)
    elif state.left == 0 and state.is_loose:
        runtime.team_queue.send(seat.claim.job_id, end_of(seat.slot.round))


def _end_cancelled(runtime: Runtime, job_id: str) -> None:
    job = runtime.store.get(job_id)
    if job is not None:
        runtime.cancellation.end_idle_team(job)


def failed_reply(seat: Seat, error: JobError) -> MemberReply:
    """Return what stands for the reply of an agent that gave none."""
    member = seat.plan.member(seat.slot.agent)
    return MemberReply(
        round=seat.slot.round,
        text="",
        finish_reason="error",
        report=AgentReport(
            name=member.agent,
            status="failed",
            tier=member.tier,
            model=member.model,
            reason=member.reason,
            usage=seat.claim.spent.usage,
            cost_micros=seat.claim.spent.cost_micros,
            error=error,
        ),
    )


def _take_turn(
    runtime: Runtime, seat: Seat, stop: StopSignal, deadline: float
) -> tuple[MemberReply, Unwritten]:
    joined_ms = now_ms()
    turn = _prepare(runtime, seat)
    about = {"agent": seat.slot.agent, "round": seat.slot.round}
    pen = runtime.writer.open(seat.claim, stop, NewEvent(events.AGENT_DELTA, about))
    begun = about | {"model": turn.models[0].id, "attempt": seat.claim.attempt}
    pen.tell(NewEvent(events.AGENT_STARTED, begun))
    reply = runtime.turns.run(
        turn, deadline=deadline, stop=stop, listener=listener(pen, about, turn)
    )
    if stop.reason is StopReason.LOST:
        logger.warning("another attempt has the slot; this one ends")
        raise SlotUnavailable
    if reply.retry_in_s is not None:
        defer(runtime, seat.claim, reply.retry_in_s, reply.report, pen)
        raise SlotUnavailable
    return _to_member_reply(seat, reply, joined_ms), pen.take()


def _prepare(runtime: Runtime, seat: Seat) -> Turn:
    """Return what the agent is asked: the question, and from round two on the others' replies."""
    spec, member = seat.claim.spec, seat.plan.member(seat.slot.agent)
    model = runtime.catalogue.models[member.model]
    persona = runtime.personas[member.agent]
    history = history_of(runtime, seat.claim)
    budget_tokens = model.context_tokens - spec.max_tokens
    if seat.slot.round == 1:
        messages = build_messages(persona, history, spec.message, budget_tokens=budget_tokens)
    else:
        own, others = _replies_before(runtime, seat)
        messages = build_revision(
            persona, spec.message, own, others, history, budget_tokens=budget_tokens
        )
    return Turn(
        agent=persona.name,
        tier=member.tier,
        models=tuple(fallbacks_of(model, runtime.catalogue)),
        reason=member.reason,
        messages=messages,
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
        booking=seat.claim.work_id,
        spent=seat.claim.spent,
    )


def _replies_before(runtime: Runtime, seat: Seat) -> tuple[str, list[Contribution]]:
    """Return the agent's own reply of the round before, and the usable ones of the others."""
    before = [
        reply
        for reply in runtime.teams.replies(seat.claim.job_id)
        if reply.round == seat.slot.round - 1 and reply.is_usable
    ]
    own = "".join(reply.text for reply in before if reply.report.name == seat.slot.agent)
    others = [reply for reply in before if reply.report.name != seat.slot.agent]
    return own, contributions_of(runtime, others)


def contributions_of(runtime: Runtime, replies: Sequence[MemberReply]) -> list[Contribution]:
    """Return the replies as a prompt takes them."""
    return [
        Contribution(
            name=reply.report.name,
            title=runtime.personas[reply.report.name].title,
            text=reply.text,
            finish_reason=reply.finish_reason,
        )
        for reply in replies
    ]


def best_of(runtime: Runtime, replies: Sequence[MemberReply]) -> MemberReply:
    """Return the reply that answers for all where no synthesis does."""
    best = best_reply(contributions_of(runtime, replies))
    return next(reply for reply in replies if reply.report.name == best.name)


def _to_member_reply(seat: Seat, reply: Reply, joined_ms: int) -> MemberReply:
    queue_ms = max(0, joined_ms - seat.queued_ms)
    timing = {"queue": queue_ms} | reply.report.timing_ms
    return MemberReply(
        round=seat.slot.round,
        text=reply.text,
        finish_reason=reply.finish_reason,
        report=msgspec.structs.replace(reply.report, timing_ms=timing),
    )


def _ended_event(reply: MemberReply) -> NewEvent:
    own = reply.report
    data = {
        "agent": own.name,
        "round": reply.round,
        "status": own.status,
        "usage": public_usage(own.usage),
        "cost_usd": to_usd(own.cost_micros),
        "timing_ms": own.timing_ms,
        "error": msgspec.to_builtins(own.error),
    }
    return NewEvent(events.AGENT_COMPLETED if reply.is_usable else events.AGENT_FAILED, data)
