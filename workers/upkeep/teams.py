"""What the sweeper does for teams: report in an agent's place, end a job with its replies."""

from __future__ import annotations

from typing import Final

import structlog
from msgspec.structs import replace

from core.errors import SlotUnavailable
from core.events import NewEvent, answer_delta
from core.outcome import WORKER_LOST, Answer, JobError, Outcome
from core.team import Slot, best_reply, early_outcome, gather
from core.timing import TimeAccount
from storage.jobs.attempts import MAX_ATTEMPTS
from storage.jobs.teams import Teams, TeamState
from workers.attempt_factory import AttemptFactory
from workers.team.finish import RoundEnds
from workers.team.turn import AgentTurns, failed_reply

logger = structlog.get_logger(__name__)

_LOST: Final = JobError(WORKER_LOST, f"The agent lost its worker {MAX_ATTEMPTS} times.")
_LATE: Final = JobError("deadline_exceeded", "The agent's time passed before it had begun.")


class TeamSweeper:
    """Brings slots on that no worker will finish."""

    def __init__(
        self, teams: Teams, attempts: AttemptFactory, turns: AgentTurns, ends: RoundEnds
    ) -> None:
        self._teams = teams
        self._attempts = attempts
        self._turns = turns
        self._ends = ends

    def report_failure(self, job_id: str, slot: Slot, *, is_lost: bool) -> None:
        """Report a failure in place of a slot's worker, so that the round goes on without it."""
        try:
            held = self._teams.take_slot(job_id, slot)
            if held is None:
                return
            error = _LOST if is_lost else _LATE
            logger.warning(
                "the sweeper reports for a slot", job_id=job_id, slot=slot.name, code=error.code
            )
            if slot.is_end:
                self._ends.conclude_without_synthesis(held, error)
                return
            attempt = self._attempts.of(held.claim, TimeAccount(held.claim.spec.created_ms))
            self._turns.report(held, attempt, failed_reply(held, error))
        except SlotUnavailable:
            logger.info("somebody has the slot after all", job_id=job_id, slot=slot.name)

    def state(self, job_id: str) -> TeamState | None:
        """Return how far the job's team is; None where it has none."""
        return self._teams.read(job_id)


def with_replies(outcome: Outcome, state: TeamState) -> tuple[Outcome, list[NewEvent]]:
    """Add the replies of a team to the outcome of a job that ends early.

    The best reply is the answer where there is no part of a synthesis and no cancel.

    Returns:
        the outcome, and the events of an answer that was not published yet.
    """
    error = outcome.error or _LATE
    early = early_outcome(state.plan, state.replies, error)
    answer, unpublished = outcome.answer, list[NewEvent]()
    usable = gather(state.plan, state.replies, error).contributions
    if answer is None and usable and error.code != "cancelled":
        best = best_reply(usable)
        name = best.report.name
        answer = Answer(text=best.text, finish_reason=best.finish_reason, agents=(name,))
        unpublished = [answer_delta(name, best.text)]
    merged = replace(early, answer=answer, usage=outcome.usage, cost_micros=outcome.cost_micros)
    return merged, unpublished
