"""Starting a team's rounds: a slot of the job for each agent's turn and for the round's end."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from agents.plan import Plan
from core import events
from core.jobs import TeamRequest
from core.outcome import Route
from core.team import Slot, TeamPlan, round_deadline_ms
from core.timing import now_ms
from storage.jobs.cancellation import Cancellation
from storage.jobs.claims import Hold
from storage.jobs.store import JobStore
from storage.jobs.teams import Teams
from workers.attempt import JobAttempt
from workers.queue import WakeUps

logger = structlog.get_logger(__name__)


class TeamStarter:
    """Hands claimed jobs over to their agents, for the first round and for each that follows."""

    def __init__(
        self, teams: Teams, wake_ups: WakeUps, store: JobStore, cancellation: Cancellation
    ) -> None:
        self._teams = teams
        self._wake_ups = wake_ups
        self._store = store
        self._cancellation = cancellation

    def start(self, attempt: JobAttempt, plan: Plan, fingerprint: str) -> None:
        """Let the members of the plan answer the job; the attempt is over with that.

        Args:
            fingerprint: under which the answer is to be kept; empty if it is not.
        """
        request = attempt.spec.team or TeamRequest()
        team = TeamPlan(
            members=plan.members,
            reason=plan.reason,
            rounds=request.rounds,
            quorum=min(request.quorum, len(plan.members)),
            started_ms=now_ms(),
            timing_ms=attempt.time.spent_ms,
            fingerprint=fingerprint,
        )
        for member in team.members:
            route = Route(tier=member.tier, model=member.model, reason=member.reason)
            attempt.emit(events.route_selected(member.agent, route))
        self.start_round(attempt, team, 1, [member.agent for member in team.members])

    def start_round(
        self, attempt: JobAttempt, team: TeamPlan, number: int, agents: Sequence[str]
    ) -> None:
        """Replace the attempt by the slots of a round and send the agents their turns.

        Raises:
            CoordinatorUnavailable: Redis is away; nothing was changed.
        """
        spec = attempt.spec
        request = spec.team or TeamRequest()
        deadline_ms = round_deadline_ms(
            now_ms(),
            attempt.claim.deadline_ms,
            rounds_left=team.rounds - number + 1,
            agent_deadline_s=request.agent_deadline_s,
            is_synthesized=request.synthesis,
        )
        slots = [Slot(number, agent) for agent in agents]
        unsure, unsent = attempt.drain()
        hold = self._teams.start_round(
            attempt.claim, team, slots, deadline_ms=deadline_ms, unsure=unsure, last_events=unsent
        )
        match hold:
            case Hold.HELD:
                attempt.report_end(None)
                self._wake_ups.start_round(len(slots))
            case Hold.CANCELLED:
                self.end_cancelled(spec.id)
            case Hold.LOST:
                logger.warning("another attempt has the job; this one ends")

    def end_cancelled(self, job_id: str) -> None:
        """End a cancelled job whose agents all wait or are through; no worker would."""
        job = self._store.get(job_id)
        if job is not None:
            self._cancellation.end_idle_team(job)
