"""A job's way through a worker: claim, choose, answer, finish."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from agents.context import build_messages
from agents.selection import select_agent
from agents.turn import Listener, Turn, fallbacks_of
from core import events
from core.chat import Message, StopReason, StopSignal
from core.errors import CoordinatorUnavailable
from core.events import NewEvent
from core.job import Answer, JobError, JobSpec, JobStatus, Outcome, Route
from storage.attempts import NO_EVENTS

if TYPE_CHECKING:
    from agents.turn import Reply
    from core.models import Model
    from storage.attempts import Batch, Claim
    from workers.event_writer import JobEvents
    from workers.runtime import Runtime

logger = structlog.get_logger(__name__)

#: How long an ended answer is kept in hand while Redis is away, in seconds.
_FINISH_PATIENCE_S: Final = 60.0
_FINISH_RETRY_S: Final = 0.5


def run_job(runtime: Runtime, job_id: str, *, queued_ms: int | None) -> None:
    """Answer the job if it can be claimed; otherwise there is nothing to do.

    Args:
        queued_ms: when the message was published; None when the sweeper sent it.

    Raises:
        CoordinatorUnavailable: Redis is away; the sweeper sends the job again.
    """
    claimed_ms = _now_ms()
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
            _finish(runtime, claim, JobStatus.FAILED, Outcome(error=error), (NO_EVENTS, []))


def _answer(
    runtime: Runtime,
    claim: Claim,
    stop: StopSignal,
    deadline: float,
    times_ms: tuple[int, int],
) -> None:
    began = time.monotonic()
    turn = _prepare(runtime, claim)
    route = Route(tier=turn.tier, model=turn.models[0].id, reason=turn.reason)
    route_ms = _since_ms(began)
    pen = runtime.writer.open(claim, stop, turn.persona.name)
    pen.tell(NewEvent(events.ROUTE_SELECTED, msgspec.to_builtins(route)))
    pen.tell(NewEvent(events.AGENT_STARTED, {"agent": turn.persona.name, "model": route.model}))
    reply = runtime.turns.run(
        turn, deadline=deadline, stop=stop, listener=_listener(pen, claim, route)
    )
    if stop.reason is StopReason.LOST:
        logger.warning("another attempt has the job; this one ends")
        return
    if reply.retry_in_s is not None and reply.report.error is not None:
        _defer(runtime, claim, reply.retry_in_s, reply.report.error.code, pen)
        return
    timing = _timing(claim.spec, times_ms, route_ms, reply)
    status, outcome = conclude(reply, route, timing)
    pen.tell(_agent_event(reply))
    _finish(runtime, claim, status, outcome, pen.take())
    logger.info("job ended", status=status.value, **timing)


def _prepare(runtime: Runtime, claim: Claim) -> Turn:
    """Choose who answers with which model, and what it is shown."""
    spec = claim.spec
    selection = select_agent(spec.message, spec.agent, runtime.personas)
    tier = "quick" if spec.mode == "quick" else selection.persona.tier
    model = runtime.catalogue.for_tier(tier)
    return Turn(
        persona=selection.persona,
        tier=tier,
        models=tuple(fallbacks_of(model, runtime.catalogue)),
        reason=selection.reason,
        messages=build_messages(
            selection.persona,
            _history(runtime, claim),
            spec.message,
            budget_tokens=model.context_tokens - spec.max_tokens,
        ),
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
    )


def _listener(pen: JobEvents, claim: Claim, route: Route) -> Listener:
    """Return who tells the job's readers of the answer and of every new beginning."""

    def on_restart(reason: str) -> None:
        pen.tell(NewEvent(events.JOB_RETRYING, {"attempt": claim.attempt, "reason": reason}))

    def on_fallback(model: Model, reason: str) -> None:
        another = msgspec.structs.replace(route, model=model.id, reason=f"fallback: {reason}")
        pen.tell(NewEvent(events.ROUTE_SELECTED, msgspec.to_builtins(another)))

    return Listener(pen.add_text, on_restart, on_fallback)


def _defer(runtime: Runtime, claim: Claim, wait_s: float, reason: str, pen: JobEvents) -> None:
    """Free this slot until the provider wants to be asked again; the sweeper sends the job."""
    logger.info("job deferred", wait_s=wait_s, reason=reason)
    unsure, last_events = pen.take()
    runtime.attempts.defer(claim, wait_s, reason=reason, unsure=unsure, last_events=last_events)


def _history(runtime: Runtime, claim: Claim) -> list[Message]:
    return [
        message
        for turn in runtime.attempts.conversation(claim.spec)
        for message in (Message("user", turn.message), Message("assistant", turn.answer))
    ]


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


def _timing(
    spec: JobSpec, times_ms: tuple[int, int], route_ms: int, reply: Reply
) -> dict[str, int | None]:
    """Account for the time from submit to now; all parts but `first_token` add up to `total`.

    `persist` is what remains: claiming, writing events, waiting for a processor.
    """
    queued_ms, claimed_ms = times_ms
    total = max(0, _now_ms() - spec.created_ms)
    accept = max(0, queued_ms - spec.created_ms)
    queue = max(0, claimed_ms - queued_ms)
    model = reply.report.timing_ms["total"] or 0
    return {
        "accept": accept,
        "queue": queue,
        "route": route_ms,
        "cache": 0,
        "first_token": reply.report.timing_ms["first_token"],
        "model": model,
        "synthesis": 0,
        "persist": max(0, total - accept - queue - route_ms - model),
        "total": total,
    }


def _agent_event(reply: Reply) -> NewEvent:
    report = reply.report
    is_good = report.status in ("completed", "incomplete")
    return NewEvent(
        events.AGENT_COMPLETED if is_good else events.AGENT_FAILED,
        {"agent": report.name, "status": report.status, "error": msgspec.to_builtins(report.error)},
    )


def _finish(
    runtime: Runtime,
    claim: Claim,
    status: JobStatus,
    outcome: Outcome,
    unwritten: tuple[Batch, list[NewEvent]],
) -> None:
    """End the job, waiting for Redis if need be; the fence keeps a late end harmless."""
    unsure, last_events = unwritten
    give_up_at = time.monotonic() + _FINISH_PATIENCE_S
    while True:
        try:
            is_ended = runtime.attempts.finish(
                claim, status, outcome, unsure=unsure, last_events=last_events
            )
            if not is_ended:
                logger.warning("another attempt has the job; this end does not count")
            return
        except CoordinatorUnavailable:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(_FINISH_RETRY_S)


def _since_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _now_ms() -> int:
    return int(time.time() * 1000)
