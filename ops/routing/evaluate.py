"""Compares a cheaper answer with the deep tier's.

The deep tier answers the same question in the same way, and then judges both answers twice, blind
and with their places changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, field

from agents.judging import Choice, build_judgements, read_choice, verdict_of
from agents.plan import Planner, Turn
from core.chat import Message
from core.comparisons import CheaperAnswer, Comparison
from core.models import Model
from core.personas import Persona, agent_names
from core.team import Member
from ops.routing.paid_model import (
    BudgetUsedUp,
    CallFailed,
    PaidModel,
    PaidReply,
    byte_count,
)

#: Output tokens of a judge: for one word, and for its reasoning before it.
_JUDGE_MAX_TOKENS: Final = 2048
#: Bytes of an answer's token, on the high side, for the price of judging an answer to come.
_MOST_BYTES_PER_TOKEN: Final = 5


INTERRUPTED: Final = "Interrupted."
#: A provider that is away fails every comparison; then the rest need not be tried.
_MOST_FAILURES_IN_A_ROW: Final = 5


class NoVerdict(Exception):
    """The answers could not be compared; the text says why."""


class Evaluator:
    """Makes one comparison after the other.

    Args:
        deep: the deep tier's model.
        paid: asks that model.
    """

    def __init__(self, deep: Model, paid: PaidModel, planner: Planner, judge: Persona) -> None:
        self._deep = deep
        self._paid = paid
        self._planner = planner
        self._judge = judge

    def compare(self, cheaper: CheaperAnswer) -> Comparison:
        """Return the verdict on a cheaper answer, after three calls.

        Raises:
            BudgetUsedUp: before the first call, unless failed calls had to be repeated.
            CallFailed, NoVerdict
        """
        spec, question = cheaper.spec, cheaper.question
        again = self._answer(cheaper)
        before_micros = self._paid.spent_micros
        judgements = build_judgements(
            self._judge,
            question.message,
            cheaper=cheaper.text,
            deep=again.text,
            budget_tokens=self._deep.context_tokens - _JUDGE_MAX_TOKENS,
        )
        verdict = verdict_of(
            self._choose(judgements.cheaper_first, f"{spec.id}:judge-1"),
            self._choose(judgements.cheaper_second, f"{spec.id}:judge-2"),
        )
        return Comparison(
            job_id=spec.id,
            user_id=spec.user_id,
            at_ms=int(time.time() * 1000),
            tier=cheaper.route.tier,
            model=cheaper.route.model,
            reason=cheaper.route.reason,
            deep_model=self._deep.id,
            verdict=verdict,
            cost_micros=cheaper.cost_micros,
            deep_cost_micros=again.cost_micros,
            judging_cost_micros=self._paid.spent_micros - before_micros,
        )

    def _answer(self, cheaper: CheaperAnswer) -> PaidReply:
        """Ask the deep tier what the cheaper tier was asked, in the same way."""
        if cheaper.agent not in agent_names():
            raise NoVerdict(f"There is no agent {cheaper.agent} any more.")
        deep = Member(agent=cheaper.agent, tier="deep", model=self._deep.id, reason="evaluation")
        turn = self._planner.turn(cheaper.spec, cheaper.question, (), deep)
        self._paid.require(self._most_micros(cheaper, turn))
        reply = self._paid.ask(
            turn.messages,
            booking=f"{cheaper.spec.id}:deep",
            max_tokens=turn.max_tokens,
            temperature=turn.temperature,
        )
        if reply.finish_reason != "stop" or not reply.text.strip():
            raise NoVerdict("The deep tier gave no whole answer.")
        return reply

    def _choose(self, shown: tuple[Message, ...], booking: str) -> Choice:
        reply = self._paid.ask(
            shown, booking=booking, max_tokens=_JUDGE_MAX_TOKENS, temperature=0.0
        )
        choice = read_choice(reply.text)
        if choice is None:
            raise NoVerdict("The judge said none of its three words.")
        return choice

    def _most_micros(self, cheaper: CheaperAnswer, turn: Turn) -> int:
        """Return the highest price of a comparison in which no call has to be repeated."""
        asked = sum(byte_count(message.content) for message in turn.messages)
        shown = sum(
            byte_count(text)
            for text in (self._judge.prompt, cheaper.question.message, cheaper.text)
        )
        shown += turn.max_tokens * _MOST_BYTES_PER_TOKEN
        answering = self._paid.most_micros(asked, turn.max_tokens)
        return answering + 2 * self._paid.most_micros(shown, _JUDGE_MAX_TOKENS)


class Evaluation(Struct):
    """What came of a sample.

    Attributes:
        failures: why an answer was not compared, for each that was not.
        ended_by: why the rest of the sample was not tried; empty if it was.
    """

    compared: list[Comparison] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    ended_by: str = ""


def evaluate(
    sample: Iterable[CheaperAnswer], evaluator: Evaluator, keep: Callable[[Comparison], None]
) -> Evaluation:
    """Compare one answer after the other until the sample, the budget or patience is at its end.

    Ctrl-C ends it, too; whatever ends it, the comparisons that were made have been kept.
    """
    result = Evaluation()
    failures_in_a_row = 0
    try:
        for cheaper in sample:
            try:
                comparison = evaluator.compare(cheaper)
            except (CallFailed, NoVerdict) as error:
                result.failures.append(str(error))
                failures_in_a_row += 1
                if failures_in_a_row == _MOST_FAILURES_IN_A_ROW:
                    result.ended_by = f"{failures_in_a_row} in a row could not be compared."
                    break
                continue
            failures_in_a_row = 0
            keep(comparison)
            result.compared.append(comparison)
    except BudgetUsedUp:
        result.ended_by = "The budget is used up."
    except KeyboardInterrupt:
        result.ended_by = INTERRUPTED
    return result
