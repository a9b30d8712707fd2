"""Several agents on one job: what was asked for, who takes part, and what their replies come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from core.chat import Usage
from core.jobs import TeamRequest
from core.models import Tier
from core.outcome import CUT_BY_TOKENS, AgentReport, JobError, Outcome

#: The name under which the synthesis reports; no agent has it.
SYNTHESIS: Final = "synthesis"
#: How many agents relevance chooses at most; more are a matter of cost, so they are named.
MOST_CHOSEN: Final = 4
#: What of a job's remaining time the agents leave to the synthesis.
_SYNTHESIS_SHARE: Final = 0.25
_END: Final = "end"


class Member(Struct, frozen=True, kw_only=True):
    """One agent of a team, and why it takes part."""

    agent: str
    tier: Tier
    model: str
    reason: str


class TeamPlan(Struct, frozen=True, kw_only=True):
    """Who answers a job together; made once, kept with the job.

    Attributes:
        rounds: how often the agents are asked; from the second time on they see each other.
        quorum: how many of them have to have answered.
        started_ms: when the first round began, Unix milliseconds.
        timing_ms: what the job had spent before that, by part.
        fingerprint: under which the answer is to be kept; empty if it is not.
    """

    members: tuple[Member, ...]
    reason: str
    rounds: int
    quorum: int
    started_ms: int
    timing_ms: dict[str, int]
    fingerprint: str = ""

    def member(self, agent: str) -> Member:
        return next(member for member in self.members if member.agent == agent)


class Slot(Struct, frozen=True):
    """One piece of a team's work: an agent's turn in a round, or the round's end."""

    round: int
    agent: str

    @property
    def name(self) -> str:
        return f"{self.round}.{self.agent}"

    @property
    def is_end(self) -> bool:
        return self.agent == _END

    @property
    def speaker(self) -> str:
        """Whose words a new attempt at the slot makes void."""
        return SYNTHESIS if self.is_end else self.agent


def end_of(round_number: int) -> Slot:
    """Return the slot that follows when all agents of a round have reported."""
    return Slot(round_number, _END)


def parse_slot(name: str) -> Slot:
    """Read a slot's name, `<round>.<agent>`."""
    round_number, _, agent = name.partition(".")
    return Slot(int(round_number), agent)


class MemberReply(Struct, frozen=True, kw_only=True):
    """What one agent came to in one round."""

    round: int
    text: str
    finish_reason: str
    report: AgentReport

    @property
    def is_usable(self) -> bool:
        """Say whether others may build on it: it is whole, or only its token limit cut it."""
        report = self.report
        is_cut = report.error is not None and report.error.code == CUT_BY_TOKENS
        return bool(self.text) and (report.status == "completed" or is_cut)


class Gathered(Struct, frozen=True, kw_only=True):
    """What a team's replies come to.

    Attributes:
        reports: one for each member, in the team's order, its rounds added up.
        contributions: the latest usable reply of each member that has one.
        degraded: some agent failed, in any round.
    """

    reports: tuple[AgentReport, ...]
    contributions: tuple[MemberReply, ...]
    degraded: bool


def gather(plan: TeamPlan, replies: Sequence[MemberReply], unfinished: JobError) -> Gathered:
    """Add the replies up; a member without any counts as failed by `unfinished`."""
    by_agent = {member.agent: _of_agent(replies, member.agent) for member in plan.members}
    reports = tuple(
        _merge(by_agent[member.agent]) if by_agent[member.agent] else _absent(member, unfinished)
        for member in plan.members
    )
    usable = [[reply for reply in own if reply.is_usable] for own in by_agent.values()]
    return Gathered(
        reports=reports,
        contributions=tuple(own[-1] for own in usable if own),
        degraded=any(report.status != "completed" for report in reports),
    )


def add_up(usages: Iterable[Usage]) -> Usage:
    return sum(usages, start=Usage())


def early_outcome(plan: TeamPlan, replies: Sequence[MemberReply], error: JobError) -> Outcome:
    """Return the outcome of a job that ends by `error` before all its agents have replied.

    Its own usage is none: what the replies cost is in the job's account already.
    """
    gathered = gather(plan, replies, error)
    return Outcome(agents=gathered.reports, error=error, degraded=gathered.degraded)


def quorum_missed(plan: TeamPlan, gathered: Gathered) -> JobError | None:
    """Return why the replies are too few, None when they are enough."""
    count = len(gathered.contributions)
    if count >= plan.quorum:
        return None
    codes = sorted({report.error.code for report in gathered.reports if report.error})
    return JobError(
        "quorum_not_met",
        f"{count} of {len(plan.members)} agents answered, {plan.quorum} had to"
        + (f" ({', '.join(codes)})." if codes else "."),
    )


def best_reply(replies: Sequence[MemberReply]) -> MemberReply:
    """Return the reply that is the answer where there is no synthesis.

    It is the most relevant agent's whose reply the model ended by itself; where a limit cut them
    all, the longest.

    Args:
        replies: at least one, in the order of the team: the most relevant first.
    """
    whole = (reply for reply in replies if reply.finish_reason == "stop")
    return next(whole, None) or max(replies, key=lambda reply: len(reply.text))


def calls_of(request: TeamRequest) -> tuple[int, int]:
    """Return how many calls of agents and of a synthesis a request comes to at most."""
    agents = len(request.agents) if request.agents else MOST_CHOSEN
    return agents * request.rounds, int(request.synthesis)


def round_deadline_ms(
    now_ms: int,
    job_deadline_ms: int,
    *,
    rounds_left: int,
    agent_deadline_s: float | None,
    is_synthesized: bool,
) -> int:
    """Return when the agents of the round that begins are cut: in time for what is to follow."""
    share = 1 - _SYNTHESIS_SHARE if is_synthesized else 1.0
    most_ms = max(0.0, (job_deadline_ms - now_ms) * share / rounds_left)
    if agent_deadline_s is not None:
        most_ms = min(most_ms, agent_deadline_s * 1000)
    return now_ms + int(most_ms)


def _of_agent(replies: Sequence[MemberReply], agent: str) -> list[MemberReply]:
    own = [reply for reply in replies if reply.report.name == agent]
    return sorted(own, key=lambda reply: reply.round)


def _merge(own: Sequence[MemberReply]) -> AgentReport:
    """Return the report of an agent's last round with the tokens and the time of all of them."""
    last = own[-1].report
    texts = [reply.text for reply in own if reply.is_usable] or [own[-1].text]
    return msgspec.structs.replace(
        last,
        usage=add_up(reply.report.usage for reply in own),
        cost_micros=sum(reply.report.cost_micros for reply in own),
        timing_ms={
            "queue": sum(reply.report.timing_ms.get("queue") or 0 for reply in own),
            "first_token": own[0].report.timing_ms.get("first_token"),
            "total": sum(reply.report.timing_ms.get("total") or 0 for reply in own),
        },
        text=texts[-1],
        rounds=len(own),
        fallback_from=next((r.report.fallback_from for r in own if r.report.fallback_from), None),
    )


def _absent(member: Member, error: JobError) -> AgentReport:
    return AgentReport(
        name=member.agent,
        status="cancelled" if error.code == "cancelled" else "failed",
        tier=member.tier,
        model=member.model,
        reason=member.reason,
        error=error,
    )
