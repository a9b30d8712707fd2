"""The end of a team's round: the next round, or the one answer to the job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from msgspec import Struct

from agents.answer import AnswerRunner
from agents.plan import Planner
from agents.reply import Reply
from core import events
from core.chat import Usage
from core.jobs import JobStatus, TeamRequest
from core.outcome import AgentReport, Answer, CacheUse, JobError, Outcome, Route
from core.team import (
    SYNTHESIS,
    Gathered,
    MemberReply,
    best_reply,
    early_outcome,
    gather,
    quorum_missed,
)
from core.timing import TimeAccount
from storage.jobs.teams import SlotClaim, Teams
from workers.answer_cache import AnswerCache
from workers.attempt import JobAttempt
from workers.attempt_factory import AttemptFactory
from workers.team.start import TeamStarter

logger = structlog.get_logger(__name__)

#: The error of a member that the round ended without.
_NO_REPLY: Final = JobError("no_reply", "The agent gave no reply.")


class _End(Struct, frozen=True, kw_only=True):
    """How the job ends, apart from its agents' reports."""

    status: JobStatus
    answer: Answer | None = None
    synthesis: AgentReport | None = None
    error: JobError | None = None
    degraded: bool = False


class RoundEnds:
    """Ends rounds; one object serves all threads of a worker process."""

    def __init__(
        self,
        teams: Teams,
        attempts: AttemptFactory,
        planner: Planner,
        answers: AnswerRunner,
        cache: AnswerCache,
        starter: TeamStarter,
    ) -> None:
        self._teams = teams
        self._attempts = attempts
        self._planner = planner
        self._answers = answers
        self._cache = cache
        self._starter = starter

    def run(self, held: SlotClaim) -> None:
        """Go on from a round whose agents have all replied.

        Raises:
            CoordinatorUnavailable: Redis is away; the slot comes back when its lease has run out.
        """
        attempt = self._begin(held)
        replies = self._teams.replies(held.claim.job_id)

        def fail(error: JobError) -> None:
            # A bug ends the job with what its agents said.
            attempt.finish(JobStatus.FAILED, early_outcome(held.plan, replies, error))

        with attempt.running(on_bug=fail):
            self._go_on(held, attempt, gather(held.plan, replies, _NO_REPLY))

    def conclude_without_synthesis(self, held: SlotClaim, error: JobError) -> None:
        """End a job whose synthesis cannot be had with its best reply.

        Raises:
            CoordinatorUnavailable: Redis stayed away.
        """
        attempt = self._begin(held)
        gathered = gather(held.plan, self._teams.replies(attempt.spec.id), _NO_REPLY)
        end = _end_by_quorum(held, gathered)
        if end is None:
            member = self._planner.synthesis_member()
            lost = AgentReport(
                name=SYNTHESIS,
                status="failed",
                tier=member.tier,
                model=member.model,
                reason=member.reason,
                error=error,
            )
            end = _end_by_best_reply(attempt, gathered, lost)
        self._finish(held, attempt, gathered, end)

    def _begin(self, held: SlotClaim) -> JobAttempt:
        spec = held.claim.spec
        account = TimeAccount(spec.created_ms, held.plan.timing_ms)
        # The agents ran side by side: the model's time is that of the whole rounds.
        account.record("model", held.claim.queued_ms - held.plan.started_ms)
        return self._attempts.of_slot(held, account)

    def _go_on(self, held: SlotClaim, attempt: JobAttempt, gathered: Gathered) -> None:
        speakers = [reply.report.name for reply in gathered.contributions]
        if held.slot.round < held.plan.rounds and len(speakers) > 1:
            self._starter.start_round(attempt, held.plan, held.slot.round + 1, speakers)
            return
        end = _end_by_quorum(held, gathered) or _end_without_synthesis(attempt, gathered)
        if end is None:
            reply = self._synthesize(held, attempt, gathered.contributions)
            if reply is None:
                return
            end = _end_by_synthesis(held, attempt, gathered, reply)
        self._finish(held, attempt, gathered, end)

    def _synthesize(
        self, held: SlotClaim, attempt: JobAttempt, replies: Sequence[MemberReply]
    ) -> Reply | None:
        """Return the synthesis; None where another attempt makes it, or a later one will."""
        turn = self._planner.synthesis_turn(
            attempt.spec, attempt.question, attempt.history(), replies
        )
        names = (reply.report.name for reply in replies)
        attempt.emit(events.synthesis_started(turn.models[0].id, names, attempt.number))
        reply = self._answers.run(
            turn,
            booking=attempt.claim.work_id,
            deadline=attempt.deadline,
            stop=attempt.stop,
            listener=attempt.answer_listener(SYNTHESIS, part=SYNTHESIS, round_=held.slot.round),
            spending=attempt.spending,
        )
        if attempt.is_lost:
            logger.warning("another attempt has the round's end; this one ends")
            return None
        return reply if attempt.come_back(reply) is None else None

    def _finish(self, held: SlotClaim, attempt: JobAttempt, gathered: Gathered, end: _End) -> None:
        made, plan = end.synthesis, held.plan
        shown = made or plan.members[0]
        outcome = Outcome(
            answer=end.answer,
            agents=gathered.reports,
            synthesis=made,
            # The synthesis is all that this attempt called; the replies are in the job's account.
            usage=made.usage if made else Usage(),
            cost_micros=made.cost_micros if made else 0,
            route=Route(tier=shown.tier, model=shown.model, reason=plan.reason),
            timing_ms=_timing(attempt.time, made),
            error=end.error,
            degraded=gathered.degraded or end.degraded,
            cache=CacheUse(status="miss" if plan.fingerprint else "bypass"),
        )
        attempt.finish(end.status, outcome)
        self._cache.keep(attempt.spec, plan.fingerprint, end.status, outcome)


def _timing(account: TimeAccount, synthesis: AgentReport | None) -> dict[str, int | None]:
    timing = synthesis.timing_ms if synthesis else {}
    rounds_ms, first_ms = account.spent_ms["model"], timing.get("first_token")
    account.record("synthesis", timing.get("total") or 0)
    return account.close(first_token_ms=None if first_ms is None else rounds_ms + first_ms)


def _end_by_quorum(held: SlotClaim, gathered: Gathered) -> _End | None:
    error = quorum_missed(held.plan, gathered)
    return _End(status=JobStatus.FAILED, error=error) if error else None


def _end_without_synthesis(attempt: JobAttempt, gathered: Gathered) -> _End | None:
    """Return the end where a synthesis is not needed or not wanted; None where it is."""
    replies = gathered.contributions
    request = attempt.spec.team or TeamRequest()
    if len(replies) == 1:
        return _End(status=JobStatus.COMPLETED, answer=_publish(attempt, replies[0]))
    if request.synthesis:
        return None
    text = "\n\n".join(f"## {reply.report.name}\n\n{reply.text}" for reply in replies)
    names = tuple(reply.report.name for reply in replies)
    attempt.emit(events.answer_delta(", ".join(names), text))
    answer = Answer(text=text, finish_reason="stop", agents=names)
    return _End(status=JobStatus.COMPLETED, answer=answer)


def _end_by_synthesis(
    held: SlotClaim, attempt: JobAttempt, gathered: Gathered, reply: Reply
) -> _End:
    report = reply.report
    names = tuple(own.report.name for own in gathered.contributions)
    answer = Answer(text=reply.text, finish_reason=reply.finish_reason, agents=names)
    if report.status == "completed" and reply.text:
        return _End(status=JobStatus.COMPLETED, answer=answer, synthesis=report)
    if reply.finish_reason == "length" and reply.text:
        # Cut by its token limit, but the reader has seen it: it is the answer as far as it goes.
        return _End(
            status=JobStatus.INCOMPLETE, answer=answer, synthesis=report, error=report.error
        )
    if report.status == "cancelled":
        return _End(
            status=JobStatus.CANCELLED,
            answer=answer if reply.text else None,
            synthesis=report,
            error=report.error,
        )
    if reply.text:
        number = held.slot.round
        attempt.emit(
            events.job_retrying(
                "synthesis_failed", attempt.number, agent=SYNTHESIS, round_number=number
            )
        )
    return _end_by_best_reply(attempt, gathered, report)


def _end_by_best_reply(attempt: JobAttempt, gathered: Gathered, synthesis: AgentReport) -> _End:
    """Return the end of a job whose synthesis failed: degraded, or incomplete if time ran out."""
    is_late = synthesis.status == "incomplete"
    return _End(
        status=JobStatus.INCOMPLETE if is_late else JobStatus.COMPLETED,
        answer=_publish(attempt, best_reply(gathered.contributions)),
        synthesis=synthesis,
        error=synthesis.error if is_late else None,
        degraded=True,
    )


def _publish(attempt: JobAttempt, reply: MemberReply) -> Answer:
    """Publish one agent's reply as the job's answer."""
    name = reply.report.name
    attempt.emit(events.answer_delta(name, reply.text))
    return Answer(text=reply.text, finish_reason=reply.finish_reason, agents=(name,))
