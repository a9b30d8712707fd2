"""A job's way through a worker: claim, choose, answer, finish."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import Struct

from agents.answer import Turn, fallbacks_of
from agents.context import build_messages
from agents.routing import choose
from agents.selection import Team, select_agent, select_team
from core import events
from core.chat import Message
from core.errors import CoordinatorUnavailable
from core.events import NewEvent
from core.jobs import JobSpec, JobStatus
from core.outcome import Answer, JobError, Outcome, Route
from core.stop import StopReason, StopSignal
from core.team import MOST_CHOSEN
from workers import reuse
from workers.attempt import NOTHING_UNWRITTEN, Deferred, Ended, defer, finish
from workers.cascading import climb, ladder_of
from workers.team import turn as team
from workers.telling import history_of, listener, now_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.answer import Reply
    from storage.jobs.attempts import Claim
    from workers.reuse import Asked
    from workers.single_flight import LeadFlight
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)


def run_job(runtime: Runtime, job_id: str, *, queued_ms: int | None) -> None:
    """Answer the job if it can be claimed; otherwise there is nothing to do.

    Args:
        queued_ms: when the message was published; None when the sweeper sent it.

    Raises:
        CoordinatorUnavailable: Redis is away; the sweeper sends the job again.
    """
    claimed_ms = now_ms()
    claim = runtime.attempts.claim(job_id)
    if claim is None:
        logger.info("nothing to do")
        return
    stop = StopSignal()
    deadline = time.monotonic() + (claim.spec.deadline_ms - claimed_ms) / 1000
    with runtime.keeper.hold(claim, stop, deadline=deadline):
        try:
            _answer(runtime, claim, stop, deadline, (queued_ms or claim.accepted_ms, claimed_ms))
        except CoordinatorUnavailable:
            raise
        except Exception:
            # The outermost shell of a job: a bug ends it, instead of losing its worker thrice.
            logger.exception("job failed by a bug")
            error = JobError("internal_error", "Something went wrong.")
            outcome = Outcome(error=error).with_spent(claim.spent)
            finish(runtime, claim, JobStatus.FAILED, outcome, NOTHING_UNWRITTEN)


class _Work(Struct, frozen=True, kw_only=True):
    """One claim on its way: its bounds, what it asks, and who waits for the same answer.

    Attributes:
        deadline: `time.monotonic()` value at which it has to stop.
        spent_ms: the job's time so far, by part.
    """

    claim: Claim
    stop: StopSignal
    deadline: float
    spent_ms: dict[str, int]
    asked: Asked
    led: LeadFlight | None


def _answer(
    runtime: Runtime,
    claim: Claim,
    stop: StopSignal,
    deadline: float,
    times_ms: tuple[int, int],
) -> None:
    began = time.monotonic()
    asked = reuse.asked_by(runtime, claim.spec, history_of(runtime, claim))
    spent_ms = _spent_before(claim.spec, *times_ms)
    if reuse.answer_again(runtime, claim, asked, spent_ms):
        return
    selected = _select(runtime, claim.spec)
    spent_ms["route"] = max(0, _since_ms(began) - spent_ms["cache"])
    if len(selected.members) > 1:
        team.begin(runtime, claim, selected, spent_ms, asked.fingerprint)
        return
    is_done, led = reuse.line_up(runtime, claim, asked, spent_ms)
    if is_done:
        return
    work = _Work(claim=claim, stop=stop, deadline=deadline, spent_ms=spent_ms, asked=asked, led=led)
    ended: Ended | Deferred | None = None
    try:
        ended = _take_turn(runtime, work, *_prepare(runtime, claim, selected, asked.history))
    finally:
        reuse.end_flight(runtime, led, ended)


def _take_turn(runtime: Runtime, work: _Work, turn: Turn, route: Route) -> Ended | Deferred | None:
    """Have the one agent answer, and end the job; None when another attempt has it."""
    claim, stop = work.claim, work.stop
    pen = runtime.writer.open(claim, stop, NewEvent(events.ANSWER_DELTA, {"agent": turn.agent}))
    ladder = ladder_of(claim.spec, turn, route, runtime.catalogue)
    route = ladder.quick if ladder else route
    pen.tell(NewEvent(events.ROUTE_SELECTED, msgspec.to_builtins(route)))
    pen.tell(NewEvent(events.AGENT_STARTED, {"agent": turn.agent, "model": route.model}))
    heard = listener(pen, {}, turn, also=work.led.hear if work.led else None)
    if ladder is None:
        reply = runtime.turns.run(turn, deadline=work.deadline, stop=stop, listener=heard)
    else:
        reply, route = climb(
            runtime, ladder, deadline=work.deadline, stop=stop, listener=heard, pen=pen
        )
    if stop.reason is StopReason.LOST:
        logger.warning("another attempt has the job; this one ends")
        return None
    if reply.retry_in_s is not None:
        defer(runtime, claim, reply.retry_in_s, reply.report, pen)
        return Deferred(reply.retry_in_s)
    status, outcome = conclude(reply, route, _timing(claim.spec, work.spent_ms, reply))
    outcome = reuse.with_use(outcome, work.asked)
    pen.tell(_agent_event(reply))
    finish(runtime, claim, status, outcome, pen.take())
    kept = reuse.keep(runtime, claim.spec, work.asked.fingerprint, status, outcome)
    return Ended(status, outcome, kept)


def _select(runtime: Runtime, spec: JobSpec) -> Team:
    """Choose who answers."""
    if spec.team is not None:
        return select_team(spec.message, spec.team.agents, runtime.personas, most=MOST_CHOSEN)
    chosen = select_agent(spec.message, spec.agent, runtime.personas)
    return Team((chosen,), chosen.reason)


def _prepare(
    runtime: Runtime, claim: Claim, selected: Team, history: Sequence[Message]
) -> tuple[Turn, Route]:
    """Choose the model of the one agent that answers, and what it is shown."""
    spec = claim.spec
    persona = selected.members[0].persona
    choice = choose(spec, len(history) // 2, runtime.rules, runtime.catalogue)
    route = Route(tier=choice.tier, model=choice.model.id, reason=choice.reason, score=choice.score)
    turn = Turn(
        agent=persona.name,
        tier=choice.tier,
        models=tuple(fallbacks_of(choice.model, runtime.catalogue)),
        reason=selected.reason,
        messages=build_messages(
            persona,
            history,
            spec.message,
            budget_tokens=choice.model.context_tokens - spec.max_tokens,
        ),
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
        booking=claim.work_id,
        spent=claim.spent,
    )
    return turn, route


def conclude(
    reply: Reply, route: Route, timing_ms: dict[str, int | None]
) -> tuple[JobStatus, Outcome]:
    """Return how a job with one agent ends, by its agent's reply."""
    report = reply.report
    if report.model != route.model:
        route = msgspec.structs.replace(
            route, model=report.model, reason=f"{route.reason}; fallback from {route.model}"
        )
    answer = (
        Answer(text=reply.text, finish_reason=reply.finish_reason, agents=(report.name,))
        if reply.text
        else None
    )
    outcome = Outcome(
        answer=answer,
        agents=(report,),
        usage=report.usage,
        cost_micros=report.cost_micros,
        route=route,
        timing_ms=timing_ms,
        error=report.error,
    )
    return JobStatus(report.status), outcome


def _spent_before(spec: JobSpec, queued_ms: int, claimed_ms: int) -> dict[str, int]:
    """Account for the time from submit to claim."""
    return {
        "accept": max(0, queued_ms - spec.created_ms),
        "queue": max(0, claimed_ms - queued_ms),
        "route": 0,
        "cache": 0,
    }


def _timing(spec: JobSpec, spent: dict[str, int], reply: Reply) -> dict[str, int | None]:
    """Account for the time from submit to now; all parts but `first_token` add up to `total`.

    `persist` is what remains: claiming, writing events, waiting for a processor.
    """
    total = max(0, now_ms() - spec.created_ms)
    model = reply.report.timing_ms["total"] or 0
    return {
        **spent,
        "first_token": reply.report.timing_ms["first_token"],
        "model": model,
        "synthesis": 0,
        "persist": max(0, total - sum(spent.values()) - model),
        "total": total,
    }


def _agent_event(reply: Reply) -> NewEvent:
    report = reply.report
    is_good = report.status in ("completed", "incomplete")
    return NewEvent(
        events.AGENT_COMPLETED if is_good else events.AGENT_FAILED,
        {"agent": report.name, "status": report.status, "error": msgspec.to_builtins(report.error)},
    )


def _since_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
