"""A cheap answer is served where it holds; where not, the stronger model answers."""

from __future__ import annotations

import time

import msgspec
import pytest

from agents.answer import TurnRunner
from agents.cascade import AGREED, SERVED, Cascade, CascadeRunner
from core.chat import StreamEnd, TextDelta, Usage
from core.errors import PermanentModelError, RateLimited, TurnStopped
from core.outcome import Spent
from core.stop import StopReason, StopSignal
from tests.unit.agents.test_answer import CATALOGUE, MODEL, TURN, USAGE, Circuits, CuedModel, Heard

QUICK = CATALOGUE.for_tier("quick")
PROSE, NUMBER = "Write a poem", "How many legs do 3 cats have?"


def said(text, finish_reason="stop"):
    return [TextDelta(text), StreamEnd(finish_reason=finish_reason, usage=USAGE)]


def run(question, *calls, stop=None, **changes):
    model, heard = CuedModel(*calls), Heard()
    escalated: list[str] = []
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


def test_one_quick_answer_is_served_when_prose_passes_its_checks():
    reply, how, asked, told, escalated = run(PROSE, said("Roses are red"))

    assert (reply.text, told, how) == ("Roses are red", ["Roses are red"], SERVED)
    assert (asked, escalated, reply.report.tier) == ([QUICK.id], [], "quick")
    assert reply.report.drafts == ()


def test_the_first_of_two_quick_answers_is_served_when_they_agree():
    reply, how, asked, told, _ = run(NUMBER, said("12"), said("The answer is 12."))

    assert (reply.text, told, how) == ("12", ["12"], AGREED)
    assert asked == [QUICK.id] * 2
    assert reply.report.usage == USAGE + USAGE
    assert [draft.usage for draft in reply.report.drafts] == [USAGE]
    assert reply.report.cost_micros == 2 * CATALOGUE.cost_micros(QUICK, USAGE)


def test_the_stronger_model_answers_when_two_quick_answers_differ():
    reply, how, asked, told, escalated = run(NUMBER, said("12"), said("8"), said("Twelve: 12"))

    assert (reply.text, told) == ("Twelve: 12", ["Twelve: 12"])
    assert asked == [QUICK.id, QUICK.id, MODEL.id]
    assert escalated == [how] == ["two quick answers differ"]
    assert reply.report.tier == "standard"
    assert reply.report.usage == USAGE + USAGE + USAGE
    assert len(reply.report.drafts) == 2


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
    reply, how, asked, told, _ = run(PROSE, call, said("Roses are red"))

    assert (reply.text, told) == ("Roses are red", ["Roses are red"])
    assert why in how
    assert asked == [QUICK.id, MODEL.id]


def test_nothing_is_said_when_the_job_is_cancelled_before_an_answer_is_accepted():
    stop = StopSignal()
    stop.stop(StopReason.CANCELLED)

    reply, _, asked, told, escalated = run(
        NUMBER, said("12"), [TextDelta("1"), TurnStopped()], stop=stop
    )

    assert (reply.report.status, reply.text, told, escalated) == ("cancelled", "", [], [])
    assert asked == [QUICK.id] * 2
    assert len(reply.report.drafts) == 1


def test_the_job_comes_back_later_when_the_provider_says_so_and_keeps_what_it_spent():
    reply, _, asked, told, escalated = run(
        NUMBER, said("12"), [RateLimited(retry_after_s=60)], spent=Spent(USAGE, 7)
    )

    assert reply.retry_in_s >= 60
    assert (asked, told, escalated) == ([QUICK.id] * 2, [], [])
    assert reply.report.usage == USAGE + USAGE


def test_what_earlier_attempts_spent_is_counted_once():
    spent = Spent(Usage(input_tokens=1000), 50)

    reply, *_ = run(NUMBER, said("12"), said("8"), said("12"), spent=spent)

    assert reply.report.usage.input_tokens == 1000 + 3 * USAGE.input_tokens


def test_a_second_opinion_is_asked_for_with_some_heat():
    heats = []

    class Noting(CuedModel):
        def stream(self, request, *, deadline, stop):
            heats.append(request.temperature)
            return super().stream(request, deadline=deadline, stop=stop)

    turn = msgspec.structs.replace(TURN, temperature=0.0)
    cascade = Cascade(question=NUMBER, quick=turn, strong=turn)
    CascadeRunner(TurnRunner(Noting(said("12"), said("12")), CATALOGUE, Circuits())).run(
        cascade,
        deadline=time.monotonic() + 5,
        stop=StopSignal(),
        listener=Heard().listener,
        on_escalation=lambda _: None,
    )

    assert heats == [0.0, 0.7]
