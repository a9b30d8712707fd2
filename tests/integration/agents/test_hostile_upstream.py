"""The adapter, and an answer made with it, against what servers were seen to send."""

from __future__ import annotations

import time

import httpx
import pytest

from agents.answer import AnswerRunner
from agents.groq.model import GroqModel, Timeouts
from agents.plan import Turn, fallbacks_of
from agents.reply import SILENT
from core.chat import Message, ModelRequest, Usage
from core.model_errors import (
    ModelError,
    ModelMissing,
    ModelTimeout,
    NoAnswer,
    PermanentModelError,
    TransientModelError,
)
from core.models import read_catalogue
from core.stop import StopSignal
from tests.fakes import Circuits, unbounded_spending
from tests.services import wait_until

CATALOGUE = read_catalogue("groq")
MODEL = CATALOGUE.for_tier("standard")


@pytest.fixture
def open_model(stub_server):
    opened = []

    def open_one(**timeouts):
        opened.append(
            GroqModel("key", stub_server.url, max_connections=4, timeouts=Timeouts(**timeouts))
        )
        return opened[-1]

    httpx.post(f"{stub_server.url}/stub/reset")
    yield open_one
    for model in opened:
        model.close()


@pytest.fixture
def calls(stub_server):
    return lambda: stats(stub_server)["requests"]


def stats(stub_server):
    return httpx.get(f"{stub_server.url}/stub/stats").json()


def question(directive):
    return (Message("user", f"question [[stub:{directive}]]"),)


def ask(model, directive, *, max_tokens=100, within_s=30.0):
    """Return the text and the end of an answer."""
    request = ModelRequest(model="m", messages=question(directive), max_tokens=max_tokens)
    deadline = time.monotonic() + within_s
    *pieces, end = model.stream(request, deadline=deadline, stop=StopSignal())
    return "".join(piece.text for piece in pieces), end


def reply_to(model, directive, circuits=None):
    models = tuple(fallbacks_of(MODEL, CATALOGUE))
    turn = Turn(
        agent="dev",
        tier="standard",
        models=models,
        reason="asked for by name",
        messages=question(directive),
        max_tokens=16,
    )
    return AnswerRunner(model, CATALOGUE, circuits or Circuits()).run(
        turn,
        booking="job/1",
        deadline=time.monotonic() + 60,
        stop=StopSignal(),
        listener=SILENT,
        spending=unbounded_spending(CATALOGUE),
    )


@pytest.mark.parametrize(
    "directive",
    [
        *("null_delta", "null_choices", "null_data", "empty_data", "ping", "bom", "cr"),
        *("split_data", "bom cr split_data", "parts", "message", "text", "done_only"),
        *("plain_json", "no_usage", "null_delta null_data empty_data parts cr"),
        *("usage=negative", "usage=null", "usage=huge", "finish=end_turn"),
    ],
)
def test_answer_is_whole(open_model, directive):
    text, end = ask(open_model(), f"tokens=3 {directive}")

    assert (text, end.finish_reason) == ("token-1 token-2 token-3 ", "stop")


def test_bytes_that_are_no_utf8_are_replaced(open_model):
    assert ask(open_model(), "tokens=1 not_utf8")[0] == "token-1 \ufffd"


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("finish=abort", TransientModelError),
        ("finish=error", TransientModelError),
        ("no_text", NoAnswer),
        ("only_reasoning", NoAnswer),
        ("only_tool_calls", NoAnswer),
        ("html", TransientModelError),
        ("error_line=400", PermanentModelError),
        ("error_data=422", PermanentModelError),
        ("error_json=400", PermanentModelError),
        ("error_json=503", TransientModelError),
        ("error_data=model_not_found", ModelMissing),
        ("400 code=model_decommissioned", ModelMissing),
        ("400 code=model_not_found", ModelMissing),
        ("400 code=tool_use_failed", NoAnswer),
        ("413 code=rate_limit_exceeded", PermanentModelError),
        ("400 body=gzip", PermanentModelError),
        ("500 body=gzip", TransientModelError),
        ("500 body=long", TransientModelError),
        ("307", PermanentModelError),
    ],
)
def test_failure_has_the_class_that_its_words_ask_for(open_model, directive, error):
    with pytest.raises(ModelError) as failure:
        ask(open_model(), directive)

    assert type(failure.value) is error


@pytest.mark.parametrize("status", [429, 503, 529, 498])
@pytest.mark.parametrize("form", ["20", "20.0", "date:20", "20s"])
def test_named_wait_is_read_on_every_status_that_has_one(open_model, status, form):
    with pytest.raises(TransientModelError) as failure:
        ask(open_model(), f"{status} retry_after={form}")

    assert 18 < failure.value.retry_after_s <= 20


@pytest.mark.parametrize(("reset", "seconds"), [("1m30s", 90), ("6ms", 0.006), ("2h", 7_200)])
def test_reset_of_a_limit_is_read(open_model, reset, seconds):
    assert ask(open_model(), f"reset={reset}")[1].limits.tokens.reset_s == pytest.approx(seconds)


@pytest.mark.parametrize("reset", ["soon", "99999999999", "-5"])
def test_reset_that_makes_no_sense_is_no_limit(open_model, reset):
    assert ask(open_model(), f"reset={reset}")[1].limits.tokens is None


def test_answer_is_cut_and_its_call_closed_when_the_server_ignores_the_bound(
    open_model, stub_server
):
    text, end = ask(open_model(), "ignore_max tokens=5000 gap_ms=1", max_tokens=16)

    assert (len(text), end.finish_reason) == (16 * 16 + 1024, "length")
    wait_until(lambda: stats(stub_server)["client_closed"] == 1, 30, "the stub to see it")


@pytest.mark.parametrize("directive", ["stall_before=1", "head_first stall_before=1"])
def test_first_byte_may_come_later_than_the_next_ones(open_model, directive):
    text, _ = ask(open_model(first_byte_s=30, silence_s=0.2), f"tokens=2 {directive}")

    assert text == "token-1 token-2 "


@pytest.mark.parametrize("directive", ["stall_before", "head_first stall_before"])
def test_first_byte_is_waited_for_within_its_bound(open_model, directive):
    with pytest.raises(ModelTimeout):
        ask(open_model(first_byte_s=0.2), directive)


@pytest.mark.parametrize(
    ("directive", "usage"),
    [
        ("usage=text", Usage(input_tokens=10, output_tokens=5)),
        *((f"usage={name}", None) for name in ("negative", "cached", "huge", "float", "null")),
    ],
)
def test_usage_is_believed_or_as_if_none_had_come(open_model, directive, usage):
    assert ask(open_model(), directive)[1].usage == usage


@pytest.mark.parametrize("name", ["negative", "cached", "huge", "null", "text"])
def test_no_answer_costs_less_than_nothing_or_a_fortune(open_model, name):
    report = reply_to(open_model(), f"usage={name}").report

    assert report.status == "completed"
    assert 0 < report.cost_micros < 1_000


@pytest.mark.parametrize("form", ["error_line=400", "error_json=400", "error_data=422", "400"])
def test_refused_request_is_not_repeated_and_no_fault_of_the_model(open_model, calls, form):
    circuits = Circuits()

    reply = reply_to(open_model(), form, circuits)

    assert (reply.report.error.code, calls()) == ("model_refused", 1)
    assert "stub says" in reply.report.error.message
    assert circuits.recorded == []


@pytest.mark.parametrize("wait", ["0", "-5", "0.001", "date:-60"])
def test_limit_without_a_wait_is_tried_three_times_a_model(open_model, calls, wait):
    reply = reply_to(open_model(), f"429 retry_after={wait}")

    assert (reply.report.error.code, calls()) == ("model_rate_limited", 6)


def test_fallback_answers_when_the_model_is_decommissioned(open_model, calls):
    reply = reply_to(open_model(), "once:400 code=model_decommissioned")

    assert (reply.report.status, reply.report.model, calls()) == ("completed", MODEL.fallback, 2)


def test_same_model_is_asked_once_more_when_its_output_was_no_call(open_model, calls):
    reply = reply_to(open_model(), "once:400 code=tool_use_failed")

    assert (reply.report.status, reply.report.model, calls()) == ("completed", MODEL.id, 2)


def test_answer_without_text_is_an_error_that_says_what_came(open_model):
    reply = reply_to(open_model(), "only_reasoning")

    assert (reply.report.status, reply.report.error.code) == ("failed", "model_no_answer")
    assert "reasoning" in reply.report.error.message
    assert reply.report.usage.output_tokens > 0
