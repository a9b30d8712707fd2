"""The end of a team's round: the next round, or the one answer to the job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct

from agents.answer import Turn, fallbacks_of
from agents.team_prompts import build_synthesis
from core import events
from core.errors import CoordinatorUnavailable, SlotUnavailable
from core.events import NewEvent
from core.jobs import JobStatus, TeamRequest
from core.outcome import AgentReport, Answer, CacheUse, JobError, Outcome, Route
from core.stop import StopReason, StopSignal
from core.team import (
    SYNTHESIS,
    Gathered,
    MemberReply,
    early_outcome,
    gather,
    parse_slot,
    quorum_missed,
)
from workers import reuse
from workers.attempt import NOTHING_UNWRITTEN, defer, finish
from workers.team.turn import best_of, contributions_of, start_round
from workers.telling import history_of, listener, now_ms

if TYPE_CHECKING:
    from agents.answer import Reply
    from storage.jobs.teams import Seat
    from workers.event_writer import JobEvents
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)

#: Stands for the reply of an agent that the round ended without.
_NO_REPLY: Final = JobError("no_reply", "The agent gave no reply.")
_REASON: Final = "a synthesis is made by the strongest tier"
_BUG: Final = JobError("internal_error", "Something went wrong.")


class _Ending(Struct, frozen=True, kw_only=True):
    """How the job ends, apart from what its agents came to."""

    status: JobStatus
    answer: Answer | None = None
    synthesis: AgentReport | None = None
    error: JobError | None = None
    degraded: bool = False


def finish_round(runtime: Runtime, job_id: str, slot_name: str) -> None:
    """Go on from a round whose agents have all reported; a repeat finds nothing to do.

    Raises:
        CoordinatorUnavailable: Redis is away; the sweeper sends the slot again.
    """
    try:
        seat = runtime.teams.join(job_id, parse_slot(slot_name))
    except SlotUnavailable:
        seat = None
    if seat is None:
        logger.info("nothing to do")
        return
    stop = StopSignal()
    deadline = time.monotonic() + (seat.claim.spec.deadline_ms - now_ms()) / 1000
    with runtime.keeper.hold(seat.claim, stop, deadline=deadline):
        replies = runtime.teams.replies(job_id)
        try:
            _go_on(runtime, seat, replies, stop, deadline)
        except CoordinatorUnavailable:
            raise
        except Exception:
            # The outermost shell of a round's end: a bug ends the job with what its agents said.
            logger.exception("round's end failed by a bug")
            outcome = early_outcome(seat.plan, replies, _BUG)
            finish(runtime, seat.claim, JobStatus.FAILED, outcome, NOTHING_UNWRITTEN)


def conclude_without_synthesis(runtime: Runtime, seat: Seat, error: JobError) -> None:
    """End a job whose synthesis cannot be had, with the best single reply."""
    gathered = gather(seat.plan, runtime.teams.replies(seat.claim.job_id), _NO_REPLY)
    pen = _open_pen(runtime, seat, StopSignal())
    ending = _ended_by_quorum(seat, gathered) or _fall_back(
        runtime, pen, gathered, _lost(runtime, seat, error)
    )
    _finish(runtime, seat, gathered, ending, pen)


def _go_on(
    runtime: Runtime, seat: Seat, replies: Sequence[MemberReply], stop: StopSignal, deadline: float
) -> None:
    gathered = gather(seat.plan, replies, _NO_REPLY)
    speakers = [reply.report.name for reply in gathered.contributions]
    if seat.slot.round < seat.plan.rounds and len(speakers) > 1:
        start_round(runtime, seat.claim, seat.plan, seat.slot.round + 1, speakers)
        return
    pen = _open_pen(runtime, seat, stop)
    ending = _ended_by_quorum(seat, gathered) or _ended_by_few(seat, gathered, pen)
    if ending is None:
        ending = _synthesize(runtime, seat, gathered, pen, deadline)
    if ending is not None:
        _finish(runtime, seat, gathered, ending, pen)


def _open_pen(runtime: Runtime, seat: Seat, stop: StopSignal) -> JobEvents:
    return runtime.writer.open(
        seat.claim, stop, NewEvent(events.ANSWER_DELTA, {"agent": SYNTHESIS})
    )


def _ended_by_quorum(seat: Seat, gathered: Gathered) -> _Ending | None:
    error = quorum_missed(seat.plan, gathered)
    return _Ending(status=JobStatus.FAILED, error=error) if error else None


def _ended_by_few(seat: Seat, gathered: Gathered, pen: JobEvents) -> _Ending | None:
    """Return the end of a job that needs no synthesis: one reply, or none is wanted."""
    contributions = gathered.contributions
    request = seat.claim.spec.team or TeamRequest()
    if len(contributions) == 1:
        return _Ending(status=JobStatus.COMPLETED, answer=_tell_reply(pen, contributions[0]))
    if request.synthesis:
        return None
    text = "\n\n".join(f"## {reply.report.name}\n\n{reply.text}" for reply in contributions)
    speakers = tuple(reply.report.name for reply in contributions)
    pen.tell(NewEvent(events.ANSWER_DELTA, {"agent": ", ".join(speakers), "text": text}))
    answer = Answer(text=text, finish_reason="stop", agents=speakers)
    return _Ending(status=JobStatus.COMPLETED, answer=answer)


def _synthesize(
    runtime: Runtime, seat: Seat, gathered: Gathered, pen: JobEvents, deadline: float
) -> _Ending | None:
    """Have one answer made of the replies; None when that is another attempt's, or comes later."""
    turn = _prepare(runtime, seat, gathered.contributions)
    speakers = tuple(reply.report.name for reply in gathered.contributions)
    begun = {"model": turn.models[0].id, "contributors": speakers, "attempt": seat.claim.attempt}
    pen.tell(NewEvent(events.SYNTHESIS_STARTED, begun))
    about = {"agent": SYNTHESIS, "round": seat.slot.round}
    reply = runtime.turns.run(
        turn,
        deadline=deadline,
        stop=pen.stop,
        listener=listener(pen, about, turn),
    )
    if pen.stop.reason is StopReason.LOST:
        logger.warning("another attempt has the slot; this one ends")
        return None
    if reply.retry_in_s is not None:
        defer(runtime, seat.claim, reply.retry_in_s, reply.report, pen)
        return None
    return _ended_by_synthesis(runtime, pen, gathered, reply)


def _ended_by_synthesis(
    runtime: Runtime, pen: JobEvents, gathered: Gathered, reply: Reply
) -> _Ending:
    report = reply.report
    speakers = tuple(own.report.name for own in gathered.contributions)
    answer = Answer(text=reply.text, finish_reason=reply.finish_reason, agents=speakers)
    if report.status == "completed" and reply.text:
        return _Ending(status=JobStatus.COMPLETED, answer=answer, synthesis=report)
    if reply.finish_reason == "length" and reply.text:
        return _Ending(
            status=JobStatus.INCOMPLETE, answer=answer, synthesis=report, error=report.error
        )
    if report.status == "cancelled":
        return _Ending(
            status=JobStatus.CANCELLED,
            answer=answer if reply.text else None,
            synthesis=report,
            error=report.error,
        )
    if reply.text:
        pen.tell(NewEvent(events.JOB_RETRYING, {"agent": SYNTHESIS, "reason": "synthesis_failed"}))
    return _fall_back(runtime, pen, gathered, report)


def _fall_back(
    runtime: Runtime, pen: JobEvents, gathered: Gathered, synthesis: AgentReport
) -> _Ending:
    """Return the end with the best single reply, flagged; incomplete when time ran out."""
    is_late = synthesis.status == "incomplete"
    return _Ending(
        status=JobStatus.INCOMPLETE if is_late else JobStatus.COMPLETED,
        answer=_tell_reply(pen, best_of(runtime, gathered.contributions)),
        synthesis=synthesis,
        error=synthesis.error if is_late else None,
        degraded=True,
    )


def _tell_reply(pen: JobEvents, reply: MemberReply) -> Answer:
    """Have one agent's reply be the answer, and say so to those who read along."""
    name = reply.report.name
    pen.tell(NewEvent(events.ANSWER_DELTA, {"agent": name, "text": reply.text}))
    return Answer(text=reply.text, finish_reason=reply.finish_reason, agents=(name,))


def _prepare(runtime: Runtime, seat: Seat, contributions: Sequence[MemberReply]) -> Turn:
    spec = seat.claim.spec
    model = runtime.catalogue.for_tier(runtime.synthesis.tier)
    return Turn(
        agent=SYNTHESIS,
        tier=runtime.synthesis.tier,
        models=tuple(fallbacks_of(model, runtime.catalogue)),
        reason=_REASON,
        messages=build_synthesis(
            runtime.synthesis,
            spec.message,
            contributions_of(runtime, contributions),
            history_of(runtime, seat.claim),
            budget_tokens=model.context_tokens - spec.max_tokens,
        ),
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
        booking=seat.claim.work_id,
        spent=seat.claim.spent,
    )


def _lost(runtime: Runtime, seat: Seat, error: JobError) -> AgentReport:
    tier = runtime.synthesis.tier
    model = runtime.catalogue.for_tier(tier)
    return AgentReport(
        name=SYNTHESIS,
        status="failed",
        tier=tier,
        model=model.id,
        reason=_REASON,
        usage=seat.claim.spent.usage,
        cost_micros=seat.claim.spent.cost_micros,
        error=error,
    )


def _finish(
    runtime: Runtime, seat: Seat, gathered: Gathered, ending: _Ending, pen: JobEvents
) -> None:
    made = ending.synthesis
    outcome = Outcome(
        answer=ending.answer,
        agents=gathered.reports,
        synthesis=made,
        usage=gathered.usage + made.usage if made else gathered.usage,
        cost_micros=gathered.cost_micros + (made.cost_micros if made else 0),
        route=_route(seat, made),
        timing_ms=_timing(seat, made),
        error=ending.error,
        degraded=gathered.degraded or ending.degraded,
        cache=CacheUse(status="miss" if seat.plan.fingerprint else "bypass"),
    )
    finish(runtime, seat.claim, ending.status, outcome, pen.take())
    reuse.keep(runtime, seat.claim.spec, seat.plan.fingerprint, ending.status, outcome)


def _route(seat: Seat, synthesis: AgentReport | None) -> Route:
    shown = synthesis or seat.plan.members[0]
    return Route(tier=shown.tier, model=shown.model, reason=seat.plan.reason)


def _timing(seat: Seat, synthesis: AgentReport | None) -> dict[str, int | None]:
    """Account for the time from submit to now; all parts but `first_token` add up to `total`."""
    plan, spec = seat.plan, seat.claim.spec
    total = max(0, now_ms() - spec.created_ms)
    model = max(0, seat.queued_ms - plan.started_ms)
    told = synthesis.timing_ms if synthesis else {}
    made_ms, first_ms = told.get("total") or 0, told.get("first_token")
    spent = sum(plan.timing_ms.values()) + model + made_ms
    return {
        **plan.timing_ms,
        "first_token": None if first_ms is None else model + first_ms,
        "model": model,
        "synthesis": made_ms,
        "persist": max(0, total - spent),
        "total": total,
    }
