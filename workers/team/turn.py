"""One agent's turn in a round of a team."""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from agents.answer import AnswerRunner
from agents.plan import Planner, Turn
from core import events
from core.errors import SlotUnavailable
from core.outcome import AgentReport, JobError
from core.team import MemberReply, end_of, parse_slot
from core.timing import TimeAccount, now_ms
from storage.jobs.teams import SlotClaim, Teams
from workers.attempt import AttemptFactory, JobAttempt, retry_while_redis_is_away
from workers.queue import JobQueue
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
        queue: JobQueue,
        starter: TeamStarter,
    ) -> None:
        self._teams = teams
        self._attempts = attempts
        self._planner = planner
        self._answers = answers
        self._queue = queue
        self._starter = starter

    def run(self, job_id: str, slot_name: str) -> str:
        """Take one agent's turn and return the slot's name, also when nothing was left to do.

        Raises:
            SlotUnavailable: somebody else will report for this slot: the chord must not count it.
            CoordinatorUnavailable: Redis is away; the sweeper sends the slot again.
        """
        held = self._teams.claim_slot(job_id, parse_slot(slot_name))
        if held is None:
            logger.info("slot not claimed: it is done, or its job has ended")
            return slot_name
        attempt = self._attempts.of(
            held.claim,
            deadline_ms=held.deadline_ms,
            time_account=TimeAccount(held.claim.spec.created_ms),
        )

        def fail(error: JobError) -> None:
            # A bug fails the agent, not the job: the others go on.
            self.report(held, attempt, failed_reply(held, error))

        with attempt.running(on_bug=fail):
            self.report(held, attempt, self._take_turn(held, attempt))
        return slot_name

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
        )
        if attempt.is_lost:
            logger.warning("another attempt has the slot; this one ends")
            raise SlotUnavailable
        if reply.retry_in_s is not None:
            attempt.defer(reply, reply.retry_in_s)
            raise SlotUnavailable
        queue_ms = max(0, claimed_ms - held.queued_ms)
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
        """Keep an agent's reply, then do what nobody else would: see to a chord or job that ended.

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
        logger.info("agent replied", agent=reply.report.name, status=reply.report.status)
        if state.is_cancelled and not state.running:
            self._starter.end_cancelled(held.claim.job_id)
        elif state.left == 0 and state.outside_chord:
            # Some slot was sent alone, so the chord will never count to its end.
            self._queue.send_slot(held.claim.job_id, end_of(held.slot.round))


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
