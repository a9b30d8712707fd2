"""One agent's reply, whatever its model does."""

from __future__ import annotations

import time

import msgspec
import pytest

from agents.answer import Listener, Turn, TurnRunner, fallbacks_of
from core.chat import Message, StreamEnd, TextDelta, Usage
from core.errors import (
    ModelMissing,
    ModelTimeout,
    PermanentModelError,
    RateLimited,
    TurnStopped,
)
from core.models import estimate_tokens, read_catalogue
from core.outcome import Spent
from core.stop import StopReason, StopSignal

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


class CuedModel:
    """Answers each call with the next list of items; raises what is an exception."""

    def __init__(self, *calls):
        self.calls = list(calls)
        self.asked = []

    def stream(self, request, *, deadline, stop):
        self.asked.append(request.model)
        for item in self.calls.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item


class Circuits:
    """A breaker whose open circuits are given."""

    def __init__(self, *open_models):
        self.open_models = open_models
        self.recorded = []

    def allows(self, model_id):
        return model_id not in self.open_models

    def record(self, model_id, *, is_success):
        self.recorded.append((model_id, is_success))


class Heard:
    """What a job's readers are told, in order."""

    def __init__(self):
        self.told: list[str] = []
        self.listener = Listener(
            lambda text: self.told.append(text),
            lambda reason: self.told.append(f"restart: {reason}"),
            lambda model, _: self.told.append(f"fallback: {model.id}"),
        )


def run(*calls, stop=None, circuits=None, within_s=5.0):
    model, heard = CuedModel(*calls), Heard()
    reply = TurnRunner(model, CATALOGUE, circuits or Circuits()).run(
        TURN,
        deadline=time.monotonic() + within_s,
        stop=stop or StopSignal(),
        listener=heard.listener,
    )
    return reply, model, heard


def reply_of(*items, stop=None):
    return run(items, stop=stop)[0]


def test_reply_is_billed_by_the_providers_usage_when_it_completes():
    reply, _, heard = run([TextDelta("an "), TextDelta("answer"), END])

    assert (reply.text, reply.finish_reason) == ("an answer", "stop")
    assert heard.told == ["an ", "answer"]
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
    reply, model, heard = run([ModelTimeout()], [TextDelta("answer"), END])

    assert model.asked == [MODEL.id, MODEL.id]
    assert (reply.text, reply.report.status) == ("answer", "completed")
    assert heard.told == ["answer"]


def test_readers_start_anew_and_both_calls_are_billed_when_the_first_broke_off():
    reply, _, heard = run([TextDelta("half"), ModelTimeout()], [TextDelta("answer"), END])

    assert heard.told == ["half", "restart: model_timeout", "answer"]
    assert reply.text == "answer"
    assert reply.report.usage.output_tokens > USAGE.output_tokens


def test_fallback_answers_when_the_model_fails_three_times():
    circuits = Circuits()

    reply, model, heard = run(
        *[[ModelTimeout()]] * 3, [TextDelta("answer"), END], circuits=circuits
    )

    assert model.asked == [MODEL.id] * 3 + [MODEL.fallback]
    assert heard.told == [f"fallback: {MODEL.fallback}", "answer"]
    assert reply.report.model == MODEL.fallback
    assert circuits.recorded == [(MODEL.id, False)] * 3 + [(MODEL.fallback, True)]


def test_fallback_answers_at_once_when_the_provider_has_no_such_model():
    _, model, _ = run([ModelMissing()], [END])

    assert model.asked == [MODEL.id, MODEL.fallback]


def test_model_is_not_asked_when_its_circuit_is_open():
    _, model, heard = run([END], circuits=Circuits(MODEL.id))

    assert model.asked == [MODEL.fallback]
    assert heard.told == [f"fallback: {MODEL.fallback}"]


def test_job_comes_back_later_when_every_circuit_is_open():
    reply, model, _ = run(circuits=Circuits(MODEL.id, MODEL.fallback), within_s=60)

    assert model.asked == []
    assert reply.retry_in_s == 10.0


def test_job_comes_back_when_the_provider_names_a_long_wait():
    reply, _, _ = run([RateLimited(retry_after_s=30.0)], within_s=60)

    assert (reply.retry_in_s, reply.report.error.code) == (30.0, "model_rate_limited")


def test_what_earlier_attempts_spent_is_part_of_the_reply():
    before = Spent(USAGE, 21)
    runner = TurnRunner(CuedModel([TextDelta("answer"), END]), CATALOGUE, Circuits())

    reply = runner.run(
        msgspec.structs.replace(TURN, spent=before),
        deadline=time.monotonic() + 5,
        stop=StopSignal(),
        listener=Heard().listener,
    )

    assert reply.report.usage == USAGE + USAGE
    assert reply.report.cost_micros == 42


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
