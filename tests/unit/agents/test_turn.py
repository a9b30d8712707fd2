"""One agent's reply, whatever its model does."""

from __future__ import annotations

import time

import pytest

from agents.personas import load_personas
from agents.turn import Turn, run_turn
from core.chat import Message, StopReason, StopSignal, StreamEnd, TextDelta, Usage
from core.errors import ModelTimeout, TurnStopped
from core.models import estimate_tokens, read_catalogue

CATALOGUE = read_catalogue("groq")
MODEL = CATALOGUE.for_tier("standard")
TURN = Turn(
    persona=load_personas()["dev"],
    tier="standard",
    model=MODEL,
    reason="asked for by name",
    messages=(Message("user", "question"),),
    max_tokens=10,
)


class CuedModel:
    """Yields what it is given; raises what is an exception."""

    def __init__(self, *items):
        self.items = items

    def stream(self, request, *, deadline, stop):
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


def reply_of(*items, stop=None, heard=None):
    return run_turn(
        TURN,
        CuedModel(*items),
        CATALOGUE,
        deadline=time.monotonic() + 5,
        stop=stop or StopSignal(),
        on_text=(heard if heard is not None else []).append,
    )


def test_reply_is_billed_by_the_providers_usage_when_it_completes():
    heard = []
    usage = Usage(input_tokens=100, output_tokens=10)

    reply = reply_of(
        TextDelta("an "),
        TextDelta("answer"),
        StreamEnd(finish_reason="stop", usage=usage),
        heard=heard,
    )

    assert (reply.text, reply.finish_reason, reply.report.status) == (
        "an answer",
        "stop",
        "completed",
    )
    assert heard == ["an ", "answer"]
    assert (reply.report.usage, reply.report.cost_micros) == (usage, 21)


def test_usage_is_estimated_when_the_provider_sent_none():
    reply = reply_of(TextDelta("answer"), StreamEnd(finish_reason="stop"))

    assert reply.report.usage == Usage(
        input_tokens=estimate_tokens("question"), output_tokens=estimate_tokens("answer")
    )


def test_reply_is_incomplete_when_the_token_limit_cut_it():
    reply = reply_of(TextDelta("ans"), StreamEnd(finish_reason="length"))

    assert (reply.report.status, reply.report.error.code) == ("incomplete", "token_limit")


def test_failure_is_part_of_the_reply_and_free_when_nothing_came():
    reply = reply_of(ModelTimeout())

    assert (reply.report.status, reply.report.error.code) == ("failed", "model_timeout")
    assert (reply.report.usage, reply.report.cost_micros) == (Usage(), 0)
    assert reply.report.timing_ms["first_token"] is None


def test_text_so_far_is_kept_and_billed_when_the_model_fails_in_the_middle():
    reply = reply_of(TextDelta("half an answer"), ModelTimeout())

    assert (reply.text, reply.report.status) == ("half an answer", "failed")
    assert reply.report.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("reason", "status"),
    [(StopReason.CANCELLED, "cancelled"), (StopReason.DEADLINE, "incomplete")],
)
def test_status_says_why_when_the_call_was_stopped(reason, status):
    stop = StopSignal()
    stop.stop(reason)

    reply = reply_of(TextDelta("half"), TurnStopped(), stop=stop)

    assert (reply.text, reply.report.status) == ("half", status)
