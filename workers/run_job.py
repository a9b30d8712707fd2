"""The life of a job in a worker, from its claim to its end, in one function."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from agents.answer import AnswerRunner
from agents.plan import Planner
from agents.reply import Reply
from core import events
from core.jobs import JobStatus
from core.outcome import Answer, CacheUse, Outcome, Route
from core.timing import TimeAccount
from storage.jobs.claims import Claim
from workers.answer_cache import AnswerCache
from workers.attempt_factory import AttemptFactory
from workers.single_flight import SingleFlight, note_of
from workers.team.start import TeamStarter


class JobRunner:
    """Answers jobs; one object serves all threads of a worker process."""

    def __init__(
        self,
        attempts: AttemptFactory,
        planner: Planner,
        answers: AnswerRunner,
        cache: AnswerCache,
        single_flight: SingleFlight,
        teams: TeamStarter,
    ) -> None:
        self._attempts = attempts
        self._planner = planner
        self._answers = answers
        self._cache = cache
        self._single_flight = single_flight
        self._teams = teams

    def run(self, claim: Claim) -> None:
        """Answer the job that was claimed.

        Raises:
            CoordinatorUnavailable: Redis is away; the job comes back when its lease has run out.
        """
        attempt = self._attempts.of_job(claim)
        with attempt.running(on_bug=attempt.fail):
            spec, question, history = attempt.spec, attempt.question, attempt.history()

            # A kept answer is free, so it comes before anything that costs. The fingerprint is
            # taken here, because the conversation may go on while the answer is made.
            asked = self._cache.asked(spec, question, history)
            with attempt.time.measured("cache"):
                hit = self._cache.find(spec, asked)
            if hit is not None:
                attempt.finish_with_hit(hit, coalesced=attempt.claim.was_parked)
                return

            # The plan depends on the job alone: the next attempt makes the same one.
            with attempt.time.measured("route"):
                plan = self._planner.plan(spec, question, history)
            if plan.turn is None or plan.route is None:
                # A team's slots have leases of their own; with their start this attempt is over.
                self._teams.start(attempt, plan, asked.fingerprint)
                return

            to_hit = partial(self._cache.decode, spec, asked)
            with self._single_flight.lead(attempt, asked.shared_fingerprint, to_hit) as lead:
                if lead is None:
                    # Parked without a thread or a lease, or ended by what its leader left.
                    return
                turn, route = plan.turn, plan.route
                attempt.emit(events.route_selected(turn.agent, route))
                attempt.emit(events.agent_started(turn.agent, route.model, attempt.number))
                reply = self._answers.run(
                    turn,
                    booking=attempt.claim.work_id,
                    deadline=attempt.deadline,
                    stop=attempt.stop,
                    listener=attempt.answer_listener(turn.agent),
                    spending=attempt.spending,
                )
                if attempt.is_lost:
                    # The attempt that has the job now leads under the same job id: release nobody.
                    lead.leave()
                elif (wait_s := attempt.come_back(reply)) is not None:
                    lead.keep(wait_s)
                else:
                    attempt.emit(events.agent_ended(reply.report))
                    status, outcome = conclude(reply, route, attempt.time, asked.use)
                    # The user's end comes first. A process that dies behind it leaves the parked
                    # jobs to the sweeper, which finds each of them due after one lease.
                    attempt.finish(status, outcome)
                    kept = self._cache.keep(spec, asked.fingerprint, status, outcome)
                    lead.end(note_of(status, outcome, kept))


def conclude(
    reply: Reply, route: Route, account: TimeAccount, use: CacheUse
) -> tuple[JobStatus, Outcome]:
    """Return how a job with one agent ends, by its reply.

    Args:
        route: as it was planned; the outcome's says which model answered in the end.
        account: the job's time so far; the reply's time is added.
    """
    report = reply.report
    account.record("model", report.timing_ms["total"] or 0)
    reason = f"cascade: {reply.cascade}" if reply.cascade else route.reason
    if report.fallback_from:
        reason += f"; fallback from {report.fallback_from}"
    route = replace(route, tier=report.tier, model=report.model, reason=reason)
    answer = Answer(text=reply.text, finish_reason=reply.finish_reason, agents=(report.name,))
    outcome = Outcome(
        answer=answer if reply.text else None,
        agents=(report,),
        usage=report.usage,
        cost_micros=report.cost_micros,
        route=route,
        timing_ms=account.close(first_token_ms=report.timing_ms["first_token"]),
        error=report.error,
        cache=use,
    )
    return JobStatus(report.status), outcome
