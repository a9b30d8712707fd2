"""What the sweeper does for a team: report for who will not, end a job with what exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from core.errors import SlotUnavailable
from core.events import ANSWER_DELTA, NewEvent
from core.outcome import WORKER_LOST, Answer, JobError, Outcome
from core.team import early_outcome, gather
from storage.jobs.attempts import MAX_ATTEMPTS
from workers.team.finish import conclude_without_synthesis
from workers.team.turn import best_of, failed_reply, report

if TYPE_CHECKING:
    from core.team import Slot
    from storage.jobs.teams import TeamState
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)

_LOST: Final = JobError(WORKER_LOST, f"It lost its worker {MAX_ATTEMPTS} times.")
_LATE: Final = JobError("deadline_exceeded", "The agent's time passed before it had begun.")


def close(runtime: Runtime, job_id: str, slot: Slot, *, is_lost: bool) -> None:
    """Go on without what nobody will do any more."""
    try:
        seat = runtime.teams.close(job_id, slot)
        if seat is None:
            return
        error = _LOST if is_lost else _LATE
        logger.warning("slot closed by the sweeper", job_id=job_id, slot=slot.name, code=error.code)
        if slot.is_end:
            conclude_without_synthesis(runtime, seat, error)
        else:
            report(runtime, seat, failed_reply(seat, error))
    except SlotUnavailable:
        logger.info("somebody has the slot after all", job_id=job_id, slot=slot.name)


def with_replies(
    runtime: Runtime, outcome: Outcome, state: TeamState
) -> tuple[Outcome, list[NewEvent]]:
    """Add what a team's agents came to, and have the best reply answer where no synthesis does.

    Returns:
        the outcome, and the events that tell an answer nobody was told yet.
    """
    error = outcome.error or _LATE
    early = early_outcome(state.plan, state.replies, error)
    answer, told = outcome.answer, list[NewEvent]()
    usable = gather(state.plan, state.replies, error).contributions
    if answer is None and usable and error.code != "cancelled":
        best = best_of(runtime, usable)
        name = best.report.name
        answer = Answer(text=best.text, finish_reason=best.finish_reason, agents=(name,))
        told = [NewEvent(ANSWER_DELTA, {"agent": name, "text": best.text})]
    merged = msgspec.structs.replace(
        early,
        answer=answer,
        usage=early.usage + outcome.usage,
        cost_micros=early.cost_micros + outcome.cost_micros,
    )
    return merged, told
