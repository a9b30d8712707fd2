"""One agent's turn in a round of a team."""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from agents.answer import AnswerRunner
from agents.plan import Planner, Turn
from core import events
from core.errors import SlotUnavailable
from core.outcome import AgentReport, JobError
from core.team import MemberReply
from core.timing import TimeAccount, now_ms
from storage.jobs.teams import SlotClaim, Teams
from workers.attempt import JobAttempt
from workers.attempt_factory import AttemptFactory
from workers.patience import retry_while_redis_is_away
from workers.queue import WakeUps
from workers.team.start import TeamStarter

logger = structlog.get_logger(__name__)


class AgentTurns:
    """Takes the turns of agents; one object serves all threads of a worker process."""

    def __init__(
        self,
        teams: Teams,
        attempts: AttemptFactory,
        planner: Planner,
        answers: AnswerRunner,
        wake_ups: WakeUps,
        starter: TeamStarter,
    ) -> None:
        self._teams = teams
        self._attempts = attempts
        self._planner = planner
        self._answers = answers
        self._wake_ups = wake_ups
        self._starter = starter

    def run(self, held: SlotClaim) -> None:
        """Take one agent's turn.

        Raises:
            SlotUnavailable: another attempt has the slot by now, or a later one will.
            CoordinatorUnavailable: Redis is away; the slot comes back when its lease has run out.
        """
        attempt = self._attempts.of_slot(held, TimeAccount(held.claim.spec.created_ms))

        def fail(error: JobError) -> None:
            # A bug fails the agent, not the job: the others go on.
            self.report(held, attempt, failed_reply(held, error))

        with attempt.running(on_bug=fail):
            self.report(held, attempt, self._take_turn(held, attempt))

    def _take_turn(self, held: SlotClaim, attempt: JobAttempt) -> MemberReply:
        claimed_ms = now_ms()
        turn = self._plan(held, attempt)
        agent, number = held.slot.agent, held.slot.round
        attempt.emit(
            events.agent_started(agent, turn.models[0].id, attempt.number, round_number=number)
        )
        reply = self._answers.run(
            turn,
            booking=attempt.claim.work_id,
            deadline=attempt.deadline,
            stop=attempt.stop,
            listener=attempt.reply_listener(agent, number),
            spending=attempt.spending,
        )
        if attempt.is_lost:
            logger.warning("another attempt has the slot; this one ends")
            raise SlotUnavailable
        if attempt.come_back(reply) is not None:
            raise SlotUnavailable
        queue_ms = max(0, claimed_ms - held.claim.queued_ms)
        timing = {"queue": queue_ms} | reply.report.timing_ms
        return MemberReply(
            round=number,
            text=reply.text,
            finish_reason=reply.finish_reason,
            report=replace(reply.report, timing_ms=timing),
        )

    def _plan(self, held: SlotClaim, attempt: JobAttempt) -> Turn:
        """Return the question to the agent, from the second round on with the others' replies."""
        spec, question, history = attempt.spec, attempt.question, attempt.history()
        member = held.plan.member(held.slot.agent)
        if held.slot.round == 1:
            return self._planner.turn(spec, question, history, member)
        before = [
            reply
            for reply in self._teams.replies(spec.id)
            if reply.round == held.slot.round - 1 and reply.is_usable
        ]
        own = "".join(reply.text for reply in before if reply.report.name == member.agent)
        others = [reply for reply in before if reply.report.name != member.agent]
        return self._planner.revision_turn(spec, question, history, member, own, others)

    def report(self, held: SlotClaim, attempt: JobAttempt, reply: MemberReply) -> None:
        """Keep an agent's reply, and end a job of which that was awaited to be cancelled.

        Raises:
            SlotUnavailable: another attempt has the slot, so this reply does not count.
            CoordinatorUnavailable: Redis stayed away.
        """
        attempt.emit(events.agent_ended(reply.report, round_number=reply.round))
        unsure, unsent = attempt.drain()
        state = retry_while_redis_is_away(
            lambda: self._teams.report(held, reply, unsure=unsure, last_events=unsent),
            until=attempt.deadline,
        )
        if state is None:
            logger.warning("another attempt has the slot; this reply does not count")
            raise SlotUnavailable
        attempt.report_end(reply.report.error)
        logger.info("agent replied", agent=reply.report.name, status=reply.report.status)
        if state.is_cancelled and not state.running:
            self._starter.end_cancelled(held.claim.job_id)
        self._wake_ups.send("finish", state.unwoken)


def failed_reply(held: SlotClaim, error: JobError) -> MemberReply:
    """Return the reply of an agent that gave none."""
    member = held.plan.member(held.slot.agent)
    return MemberReply(
        round=held.slot.round,
        text="",
        finish_reason="error",
        report=AgentReport(
            name=member.agent,
            status="failed",
            tier=member.tier,
            model=member.model,
            reason=member.reason,
            error=error,
        ),
    )
