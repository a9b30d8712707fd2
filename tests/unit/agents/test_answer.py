"""One agent's reply, whatever its model does."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from agents.answer import AnswerRunner
from agents.plan import Turn, fallbacks_of
from agents.reply import Listener
from core.chat import Message, StreamEnd, TextDelta, Usage
from core.model_errors import (
    ModelMissing,
    ModelTimeout,
    PermanentModelError,
    RateLimited,
    TurnStopped,
)
from core.models import estimate_tokens, read_catalogue
from core.stop import StopReason, StopSignal
from tests.fakes import Circuits, ScriptedModel, unbounded_spending

CATALOGUE = read_catalogue("groq")
MODEL = CATALOGUE.for_tier("standard")
TURN = Turn(
    agent="dev",
    tier="standard",
    models=tuple(fallbacks_of(MODEL, CATALOGUE)),
    reason="asked for by name",
    messages=(Message("user", "question"),),
    max_tokens=10,
)


USAGE = Usage(input_tokens=100, output_tokens=10)
END = StreamEnd(finish_reason="stop", usage=USAGE)


class Published:
    """What a job's readers see of an answer, in order."""

    def __init__(self):
        self.seen = []
        self.listener = Listener(
            lambda text: self.seen.append(text),
            lambda reason: self.seen.append(f"restart: {reason}"),
            lambda tier, model, reason, replaced: self.seen.append(f"route: {tier} {model.id}"),
        )


def run(*calls, turn=TURN, stop=None, circuits=None, within_s=5.0, spending=None):
    model, published = ScriptedModel(*calls), Published()
    reply = AnswerRunner(model, CATALOGUE, circuits or Circuits()).run(
        turn,
        booking="job/1",
        deadline=time.monotonic() + within_s,
        stop=stop or StopSignal(),
        listener=published.listener,
        spending=spending or unbounded_spending(CATALOGUE),
    )
    return reply, model, published


def asked(model):
    return [request.model for request in model.requests]


def reply_of(*items, stop=None):
    return run(items, stop=stop)[0]


def test_reply_is_billed_by_the_providers_usage_when_it_completes():
    reply, _, published = run([TextDelta("an "), TextDelta("answer"), END])

    assert (reply.text, reply.finish_reason) == ("an answer", "stop")
    assert published.seen == ["an ", "answer"]
    assert reply.report.status == "completed"
    assert (reply.report.usage, reply.report.cost_micros) == (USAGE, 21)


def test_usage_is_estimated_when_the_provider_sent_none():
    reply = reply_of(TextDelta("answer"), StreamEnd(finish_reason="stop"))

    assert reply.report.usage == Usage(
        input_tokens=estimate_tokens("question"), output_tokens=estimate_tokens("answer")
    )


def test_reply_is_incomplete_when_the_token_limit_cut_it():
    reply = reply_of(TextDelta("ans"), StreamEnd(finish_reason="length"))

    assert (reply.report.status, reply.report.error.code) == ("incomplete", "token_limit")


def test_failure_is_part_of_the_reply_and_free_when_nothing_came():
    reply = reply_of(PermanentModelError("no"))

    assert (reply.report.status, reply.report.error.code) == ("failed", "model_refused")
    assert (reply.report.usage, reply.report.cost_micros) == (Usage(), 0)
    assert reply.report.timing_ms["first_token"] is None


def test_text_so_far_is_kept_and_billed_when_the_failure_is_final():
    reply = reply_of(TextDelta("half an answer"), PermanentModelError("no"))

    assert (reply.text, reply.report.status) == ("half an answer", "failed")
    assert reply.report.usage.output_tokens > 0


def test_same_model_is_asked_again_when_a_failure_may_pass():
    reply, model, published = run([ModelTimeout()], [TextDelta("answer"), END])

    assert asked(model) == [MODEL.id, MODEL.id]
    assert (reply.text, reply.report.status) == ("answer", "completed")
    assert published.seen == ["answer"]


def test_readers_start_anew_and_both_calls_are_billed_when_the_first_broke_off():
    reply, _, published = run([TextDelta("half"), ModelTimeout()], [TextDelta("answer"), END])

    assert published.seen == ["half", "restart: model_timeout", "answer"]
    assert reply.text == "answer"
    assert reply.report.usage.output_tokens > USAGE.output_tokens


def test_fallback_answers_when_the_model_fails_three_times():
    circuits = Circuits()

    reply, model, published = run(
        *[[ModelTimeout()]] * 3, [TextDelta("answer"), END], circuits=circuits
    )

    assert asked(model) == [MODEL.id] * 3 + [MODEL.fallback]
    assert published.seen == [f"route: standard {MODEL.fallback}", "answer"]
    assert reply.report.model == MODEL.fallback
    assert circuits.recorded == [(MODEL.id, False)] * 3 + [(MODEL.fallback, True)]


def test_fallback_answers_at_once_when_the_provider_has_no_such_model():
    _, model, _ = run([ModelMissing()], [END])

    assert asked(model) == [MODEL.id, MODEL.fallback]


def test_model_is_not_asked_when_its_circuit_is_open():
    _, model, published = run([END], circuits=Circuits(MODEL.id))

    assert asked(model) == [MODEL.fallback]
    assert published.seen == [f"route: standard {MODEL.fallback}"]


def test_job_comes_back_later_when_every_circuit_is_open():
    reply, model, _ = run(circuits=Circuits(MODEL.id, MODEL.fallback), within_s=60)

    assert asked(model) == []
    assert reply.retry_in_s == 10.0


def test_job_comes_back_when_the_provider_names_a_long_wait():
    reply, _, _ = run([RateLimited(retry_after_s=30.0)], within_s=60)

    assert (reply.retry_in_s, reply.report.error.code) == (30.0, "model_rate_limited")


def test_short_wait_is_obeyed_in_place():
    began = time.monotonic()

    reply, _, _ = run([RateLimited(retry_after_s=0.3)], [END])

    assert time.monotonic() - began >= 0.3
    assert reply.report.status == "completed"


def test_failure_is_final_when_the_wait_is_longer_than_the_deadline():
    reply, _, _ = run([RateLimited(retry_after_s=30.0)], within_s=5)

    assert (reply.retry_in_s, reply.report.status) == (None, "failed")


@pytest.mark.parametrize(
    ("reason", "status"),
    [(StopReason.CANCELLED, "cancelled"), (StopReason.DEADLINE, "incomplete")],
)
def test_status_says_why_when_the_call_was_stopped(reason, status):
    stop = StopSignal()
    stop.stop(reason)

    reply = reply_of(TextDelta("half"), TurnStopped(), stop=stop)

    assert (reply.text, reply.report.status) == ("half", status)


QUICK = CATALOGUE.for_tier("quick")
CASCADE = replace(TURN, tier="quick", models=(QUICK,), stronger=TURN)


def said(text, finish_reason="stop"):
    return [TextDelta(text), StreamEnd(finish_reason=finish_reason, usage=USAGE)]


def test_the_quick_answer_is_published_when_it_passes_its_check():
    reply, model, published = run(said("Roses are red"), turn=CASCADE)

    assert (reply.text, published.seen) == ("Roses are red", ["Roses are red"])
    assert (asked(model), reply.report.tier, reply.report.drafts) == ([QUICK.id], "quick", ())
    assert reply.report.timing_ms["first_token"] == reply.report.timing_ms["total"]


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (said("Roses are", "length"), "cut short"),
        (said(""), "empty"),
        (said("I cannot help with that."), "refused"),
        ([PermanentModelError()], "failed"),
    ],
)
def test_nobody_reads_a_quick_answer_that_fails_its_check(call, why):
    reply, model, published = run(call, said("Roses are red"), turn=CASCADE)

    assert published.seen == [f"route: standard {MODEL.id}", "Roses are red"]
    assert why in reply.cascade
    assert (asked(model), reply.report.tier) == ([QUICK.id, MODEL.id], "standard")


def test_a_quick_answer_that_was_not_published_is_paid_for():
    reply, *_ = run(said("Roses are", "length"), said("Roses are red"), turn=CASCADE)

    (draft,) = reply.report.drafts
    assert (draft.model, draft.usage) == (QUICK.id, USAGE)
    assert reply.report.usage == USAGE + USAGE
    assert reply.report.cost_micros == sum(
        CATALOGUE.cost_micros(model, USAGE) for model in (QUICK, MODEL)
    )


def test_nothing_is_published_when_the_job_is_cancelled_before_the_check():
    stop = StopSignal()
    stop.stop(StopReason.CANCELLED)

    reply, model, published = run([TextDelta("1"), TurnStopped()], turn=CASCADE, stop=stop)

    assert (reply.report.status, reply.text, published.seen) == ("cancelled", "", [])
    assert asked(model) == [QUICK.id]


def test_the_stronger_tier_is_not_asked_when_the_provider_names_a_long_wait():
    reply, model, published = run([RateLimited(retry_after_s=60)], turn=CASCADE, within_s=300)

    assert (reply.retry_in_s, asked(model), published.seen) == (60, [QUICK.id], [])
