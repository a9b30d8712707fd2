"""A cheap answer is served where it holds; where not, the stronger model answers."""

from __future__ import annotations

import time

import msgspec
import pytest

from agents.answer import TurnRunner
from agents.cascade import SERVED, Cascade, CascadeRunner
from core.chat import StreamEnd, TextDelta, Usage
from core.errors import PermanentModelError, RateLimited, TurnStopped
from core.outcome import Spent
from core.stop import StopReason, StopSignal
from tests.unit.agents.test_answer import CATALOGUE, MODEL, TURN, USAGE, Circuits, CuedModel, Heard

QUICK = CATALOGUE.for_tier("quick")
QUESTION = "Write a poem"


def said(text, finish_reason="stop"):
    return [TextDelta(text), StreamEnd(finish_reason=finish_reason, usage=USAGE)]


def run(question, *calls, stop=None, **changes):
    model, heard, escalated = CuedModel(*calls), Heard(), []
    turn = msgspec.structs.replace(TURN, **changes)
    cascade = Cascade(
        question=question,
        quick=msgspec.structs.replace(turn, tier="quick", models=(QUICK,)),
        strong=turn,
    )
    reply, how = CascadeRunner(TurnRunner(model, CATALOGUE, Circuits())).run(
        cascade,
        deadline=time.monotonic() + 300,
        stop=stop or StopSignal(),
        listener=heard.listener,
        on_escalation=escalated.append,
    )
    return reply, how, model.asked, heard.told, escalated


def test_the_quick_answer_is_served_when_it_passes_its_checks():
    reply, how, asked, told, escalated = run(QUESTION, said("Roses are red"))

    assert (reply.text, told, how) == ("Roses are red", ["Roses are red"], SERVED)
    assert (asked, escalated, reply.report.tier) == ([QUICK.id], [], "quick")
    assert reply.report.drafts == ()


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (said("Roses are", "length"), "cut short"),
        (said(""), "empty"),
        (said("I cannot help with that."), "refused"),
        ([PermanentModelError()], "failed"),
    ],
)
def test_nobody_reads_a_quick_answer_that_does_not_hold(call, why):
    reply, how, asked, told, escalated = run(QUESTION, call, said("Roses are red"))

    assert (reply.text, told) == ("Roses are red", ["Roses are red"])
    assert why in how
    assert escalated == [how]
    assert (asked, reply.report.tier) == ([QUICK.id, MODEL.id], "standard")


def test_the_quick_answer_that_was_not_served_is_paid_for():
    reply, *_ = run(QUESTION, said("Roses are", "length"), said("Roses are red"))

    (draft,) = reply.report.drafts
    assert (draft.model, draft.usage) == (QUICK.id, USAGE)
    assert reply.report.usage == USAGE + USAGE
    assert reply.report.cost_micros == sum(
        CATALOGUE.cost_micros(model, USAGE) for model in (QUICK, MODEL)
    )


def test_nothing_is_said_when_the_job_is_cancelled_before_an_answer_is_accepted():
    stop = StopSignal()
    stop.stop(StopReason.CANCELLED)

    reply, _, asked, told, escalated = run(QUESTION, [TextDelta("1"), TurnStopped()], stop=stop)

    assert (reply.report.status, reply.text, told, escalated) == ("cancelled", "", [], [])
    assert asked == [QUICK.id]


def test_the_job_comes_back_later_when_the_provider_says_so_and_keeps_what_it_spent():
    reply, _, asked, told, escalated = run(
        QUESTION, [RateLimited(retry_after_s=60)], spent=Spent(USAGE, 7)
    )

    assert reply.retry_in_s >= 60
    assert (asked, told, escalated) == ([QUICK.id], [], [])
    assert (reply.report.usage, reply.report.cost_micros) == (USAGE, 7)


def test_what_earlier_attempts_spent_is_counted_once():
    spent = Spent(Usage(input_tokens=1000), 50)

    reply, *_ = run(QUESTION, said(""), said("Roses are red"), spent=spent)

    assert reply.report.usage.input_tokens == 1000 + 2 * USAGE.input_tokens
