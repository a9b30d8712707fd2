"""Shadow evaluation: what a cheaper answer was worth beside the strongest tier's.

A share of the jobs that a cheaper model answered is answered again in the background, and both
answers are judged. Nothing of it reaches the user: neither a word, nor a cost, nor a delay.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct

from agents.answer import Listener, Turn
from agents.context import build_messages
from agents.judging import build_judgements, read_choice, verdict_of
from core.jobs import JobStatus
from core.shadow import Comparison
from core.stop import StopSignal
from workers.attempt import Deferred, Ended
from workers.telling import now_ms

if TYPE_CHECKING:
    from agents.answer import Reply
    from agents.judging import Choice
    from core.chat import Message
    from core.jobs import JobSpec
    from core.models import Model
    from core.outcome import Outcome, Route
    from core.shadow import Verdict
    from workers.worker import Runtime

logger = structlog.get_logger(__name__)

#: What a judge may use for its one word and, before it, for thinking.
_JUDGE_MAX_TOKENS: Final = 2048
#: Characters of a token, on the high side, so that an answer to come is not estimated too short.
_MOST_CHARS_PER_TOKEN: Final = 5
#: Digits of a job id that decide whether it is sampled.
_SAMPLED_DIGITS: Final = 8
_SILENT: Final = Listener(lambda _: None, lambda _: None, lambda *_: None)


class Answered(Struct, frozen=True, kw_only=True):
    """An answer that can be compared, and how it came about."""

    spec: JobSpec
    agent: str
    text: str
    route: Route
    cost_micros: int


class _Comparing(Struct, kw_only=True):
    """One comparison on its way: its bounds, and what it has cost so far."""

    runtime: Runtime
    answered: Answered
    deep: Model
    deadline: float
    deep_micros: int = 0
    judging_micros: int = 0

    @property
    def cost_micros(self) -> int:
        return self.deep_micros + self.judging_micros


def offer(runtime: Runtime, spec: JobSpec, ended: Ended | Deferred | None) -> None:
    """Publish a job that has ended if it is one of those to be compared."""
    if not isinstance(ended, Ended) or not is_sampled(spec.id, runtime.settings.shadow_share):
        return
    deep = runtime.catalogue.for_tier("deep")
    if answered_below(deep, spec, ended.status, ended.outcome) is not None:
        runtime.queue.offer_shadow(spec.id)


def compare(runtime: Runtime, job_id: str) -> None:
    """Answer the job's question again, have both answers judged and store what came of it.

    Nothing is stored when a call fails, or when the judge does not say a verdict.

    Raises:
        CoordinatorUnavailable, StoreUnavailable: Redis or MongoDB is away.
    """
    deep = runtime.catalogue.for_tier("deep")
    job = runtime.store.get(job_id)
    if job is None or job.outcome is None:
        return
    answered = answered_below(deep, job.spec, job.status, job.outcome)
    if answered is None:
        return
    estimate_micros = _estimate_micros(runtime, deep, answered)
    day = runtime.shadow_budget.reserve(estimate_micros)
    if day is None:
        logger.info("not compared: the day's budget is used up")
        return
    deadline = time.monotonic() + runtime.settings.job_deadline_s
    this = _Comparing(runtime=runtime, answered=answered, deep=deep, deadline=deadline)
    try:
        _compare(this)
    finally:
        runtime.shadow_budget.give_back(day, estimate_micros - this.cost_micros)


def is_sampled(job_id: str, share: float) -> bool:
    """Say whether a job is one of the share; the same job gets the same answer everywhere."""
    return int(job_id[-_SAMPLED_DIGITS:], 16) < share * 16**_SAMPLED_DIGITS


def answered_below(
    deep: Model, spec: JobSpec, status: JobStatus, outcome: Outcome
) -> Answered | None:
    """Return what one agent alone answered with a cheaper model than `deep`; else None.

    A conversation is left out: it has gone on when the question is asked again.
    """
    answer, route = outcome.answer, outcome.route
    if status is not JobStatus.COMPLETED or answer is None or route is None:
        return None
    is_alone = len(outcome.agents) == 1 and outcome.synthesis is None
    is_fresh = outcome.cache.status in ("miss", "bypass")
    is_cheaper = route.tier != "deep" and route.model != deep.id
    if not (is_alone and is_fresh and is_cheaper) or spec.conversation_id is not None:
        return None
    return Answered(
        spec=spec,
        agent=outcome.agents[0].name,
        text=answer.text,
        route=route,
        cost_micros=outcome.cost_micros,
    )


def _compare(this: _Comparing) -> None:
    spec, cheaper = this.answered.spec, this.answered
    deep_text = _answer_again(this)
    verdict = _verdict(this, cheaper.text, deep_text) if deep_text else None
    if verdict is None:
        return
    comparison = Comparison(
        job_id=spec.id,
        user_id=spec.user_id,
        at_ms=now_ms(),
        tier=cheaper.route.tier,
        model=cheaper.route.model,
        reason=cheaper.route.reason,
        deep_model=this.deep.id,
        verdict=verdict,
        cost_micros=cheaper.cost_micros,
        deep_cost_micros=this.deep_micros,
        judging_cost_micros=this.judging_micros,
    )
    this.runtime.comparisons.add(comparison)
    logger.info("job compared", verdict=verdict, cost_micros=this.cost_micros)


def _answer_again(this: _Comparing) -> str:
    """Ask the deep tier what the job asked, in the same way; empty when it has no whole answer."""
    spec = this.answered.spec
    persona = this.runtime.personas[this.answered.agent]
    budget_tokens = this.deep.context_tokens - spec.max_tokens
    messages = build_messages(persona, (), spec.message, budget_tokens=budget_tokens)
    reply = _ask(
        this,
        "deep",
        persona.name,
        messages,
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
    )
    this.deep_micros += reply.report.cost_micros
    if reply.report.status != "completed":
        logger.warning("no second answer", status=reply.report.status)
        return ""
    return reply.text


def _verdict(this: _Comparing, cheaper_text: str, deep_text: str) -> Verdict | None:
    """Have both orders judged, one after the other; None when one of them brings no verdict."""
    judgements = build_judgements(
        this.runtime.judge,
        this.answered.spec.message,
        cheaper=cheaper_text,
        deep=deep_text,
        budget_tokens=this.deep.context_tokens - _JUDGE_MAX_TOKENS,
    )
    cheaper_first = _judge(this, "judge-1", judgements.cheaper_first)
    if cheaper_first is None:
        return None
    cheaper_second = _judge(this, "judge-2", judgements.cheaper_second)
    return None if cheaper_second is None else verdict_of(cheaper_first, cheaper_second)


def _judge(this: _Comparing, part: str, messages: tuple[Message, ...]) -> Choice | None:
    reply = _ask(
        this,
        part,
        this.runtime.judge.name,
        messages,
        max_tokens=_JUDGE_MAX_TOKENS,
        temperature=0.0,
    )
    this.judging_micros += reply.report.cost_micros
    choice = read_choice(reply.text) if reply.report.status == "completed" else None
    if choice is None:
        logger.warning("no verdict", part=part, status=reply.report.status)
    return choice


def _ask(
    this: _Comparing,
    part: str,
    agent: str,
    messages: tuple[Message, ...],
    *,
    max_tokens: int,
    temperature: float | None,
) -> Reply:
    """Ask the deep tier's model and no other; a fallback's answer would say nothing of it."""
    turn = Turn(
        agent=agent,
        tier="deep",
        models=(this.deep,),
        reason="shadow evaluation",
        messages=messages,
        max_tokens=max_tokens,
        temperature=temperature,
        booking=f"{this.answered.spec.id}:{part}",
    )
    return this.runtime.turns.run(turn, deadline=this.deadline, stop=StopSignal(), listener=_SILENT)


def _estimate_micros(runtime: Runtime, deep: Model, answered: Answered) -> int:
    """Return what a comparison costs at most, unless a call has to be repeated; at least 1."""
    spec = answered.spec
    answering = runtime.catalogue.estimate_micros(deep, len(spec.message), spec.max_tokens)
    judged_chars = len(spec.message) + len(answered.text) + spec.max_tokens * _MOST_CHARS_PER_TOKEN
    judging = runtime.catalogue.estimate_micros(deep, judged_chars, _JUDGE_MAX_TOKENS)
    return max(1, answering + 2 * judging)
