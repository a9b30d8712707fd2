"""What a provider's answer becomes, whatever it sends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.groq.stream import ENDS, MAX_STREAM_BYTES, AnswerReader
from core.chat import RateLimits, StreamEnd, TextDelta, Usage
from core.model_errors import (
    ModelError,
    ModelMissing,
    NoAnswer,
    PermanentModelError,
    RateLimited,
    TransientModelError,
)

DONE = b"data: [DONE]\n\n"


def reader(max_tokens=100):
    return AnswerReader(
        max_tokens,
        RateLimits(),
        on_text=lambda: None,
        on_finish=lambda: None,
        on_done=lambda: None,
    )


def chunk(body):
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def said(text=None, reason=None, **fields):
    delta = {} if text is None else {"content": text}
    return chunk({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **fields})


def read(*pieces, max_tokens=100):
    """Return the text, the finish reason and the usage of an answer."""
    *pieces_, end = reader(max_tokens).items(pieces)
    assert isinstance(end, StreamEnd)
    return "".join(piece.text for piece in pieces_), end.finish_reason, end.usage


def fail(*pieces):
    with pytest.raises(ModelError) as failure:
        list(reader().items(pieces))
    return failure.value


@pytest.mark.parametrize(
    "empty",
    [
        b"data:\n\n",
        b"data: null\n\n",
        b"data: []\n\n",
        b"data: 5\n\n",
        b"data: ping\n\n",
        b": ping\n\n",
        b"event: ping\ndata: {}\n\n",
        *(
            chunk(body)
            for body in (
                {"choices": None},
                {"choices": []},
                {"choices": {}},
                {"choices": [None]},
                {"choices": [[]]},
                {"choices": "x"},
                {"choices": [{"delta": None, "finish_reason": None}]},
                {"choices": [{"delta": [], "finish_reason": 5}]},
                {"choices": [{"delta": {"content": None}, "finish_reason": "null"}]},
                {"choices": [{"delta": {"content": 5}, "finish_reason": {}}]},
                {"choices": [{"index": 1, "delta": {"content": "other"}}]},
                {"error": None, "usage": None, "x_groq": None},
                {"error": {}, "usage": [], "x_groq": 1},
            )
        ),
    ],
)
def test_what_carries_nothing_is_skipped(empty):
    assert read(empty, said("a"), empty, said("b", "stop"), empty, DONE)[:2] == ("ab", "stop")


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"content": "text"}},
        {"message": {"content": "text"}},
        {"text": "text"},
        {"delta": {"content": [{"type": "text", "text": "te"}, {"type": "text", "text": "xt"}]}},
        {"delta": {"content": ["te", {"text": "xt"}, None, 5, {"type": "image_url"}]}},
        {"message": {"content": [{"type": "output_text", "text": {"value": "text"}}]}},
        {"delta": {"content": [{"type": "thinking", "text": "hm"}, {"text": "text"}]}},
        {"delta": {}, "message": {"content": "text"}},
        {"delta": {"content": ""}, "text": "text"},
        {"delta": {"content": "text"}, "logprobs": float("nan")},
    ],
)
def test_text_is_found_wherever_the_provider_puts_it(choice):
    assert read(chunk({"choices": [choice]}), DONE)[:2] == ("text", "stop")


def test_halves_of_a_character_become_replacement_characters():
    text, *_ = read(b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n', DONE)

    assert text == "a\ufffd"


def test_bytes_that_are_no_utf8_become_replacement_characters():
    text, *_ = read(b'data: {"choices":[{"delta":{"content":"a\xff\xc3"}}]}\n\n', DONE)

    assert text == "a\ufffd\ufffd"


def test_message_that_repeats_the_whole_answer_is_no_text():
    end = {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}

    assert read(said("a"), said("b"), chunk(end))[0] == "ab"


WHOLE = [reason for reason, end in ENDS.items() if end == "whole"]
FAILED = [reason for reason, end in ENDS.items() if end == "failed"]


@pytest.mark.parametrize("reason", [*WHOLE, "STOP", "some_new_reason"])
def test_answer_is_whole_when_the_reason_says_so(reason):
    text, finish_reason, _ = read(said("a"), said(reason=reason))

    assert (text, finish_reason in ("stop", "tool_calls", "function_call")) == ("a", True)


@pytest.mark.parametrize("reason", [*FAILED, "Abort", "engine_error", "network_failure"])
def test_failure_may_pass_when_the_reason_names_one(reason):
    error = fail(said("a"), said(reason=reason), DONE)

    assert type(error) is TransientModelError
    assert reason in error.message


@pytest.mark.parametrize("reason", ["length", "max_tokens", "model_length"])
def test_answer_is_cut_when_the_reason_says_so(reason):
    assert read(said("a"), said(reason=reason))[:2] == ("a", "length")
    assert read(said(reason=reason))[:2] == ("", "length")


def test_filtered_answer_keeps_its_text_and_is_a_refusal_without_any():
    assert read(said("a", "content_filter"))[:2] == ("a", "content_filter")
    assert type(fail(said(reason="content_filter"))) is PermanentModelError


def test_answer_is_whole_when_the_server_is_done_without_a_reason():
    assert read(said("a"), DONE)[:2] == ("a", "stop")
    assert read(said("a"), b'data:  [DONE] \n\ndata: {"choices":[{"text":"b"}]}\n\n')[0] == "a"


@pytest.mark.parametrize("pieces", [[], [b": ping\n\n"], [said("a")], [b"data: null\n\n"]])
def test_failure_may_pass_when_the_stream_ends_before_the_answer(pieces):
    assert type(fail(*pieces)) is TransientModelError


@pytest.mark.parametrize(
    ("delta", "came"),
    [
        ({}, "nothing"),
        ({"content": " \n"}, "nothing"),
        ({"reasoning": "hm"}, "reasoning"),
        ({"reasoning_content": "hm"}, "reasoning"),
        ({"content": [{"type": "thinking", "thinking": "hm"}]}, "reasoning"),
        ({"tool_calls": [{"id": "1"}]}, "tool calls"),
        ({"function_call": {"name": "f"}, "reasoning": "hm"}, "reasoning and tool calls"),
        ({"refusal": "no"}, "a refusal"),
    ],
)
@pytest.mark.parametrize("reason", ["stop", "tool_calls", None])
def test_error_says_what_came_when_there_is_no_text(delta, came, reason):
    usage = {"prompt_tokens": 7, "completion_tokens": 2}

    error = fail(
        chunk({"choices": [{"delta": delta, "finish_reason": reason}], "usage": usage}), DONE
    )

    assert isinstance(error, NoAnswer)
    assert error.message.endswith(f"what came: {came}.")
    assert error.usage == Usage(input_tokens=7, output_tokens=2)


ERRORS = [
    ({"message": "no", "code": 400}, PermanentModelError),
    ({"message": "no", "code": "400"}, PermanentModelError),
    ({"message": "no", "status_code": 422, "code": "x"}, PermanentModelError),
    ({"message": "no", "type": "invalid_request_error", "code": None}, PermanentModelError),
    ({"message": "no", "type": "exceed_context_size_error"}, PermanentModelError),
    ({"message": "no", "code": "model_decommissioned", "status_code": 400}, ModelMissing),
    ({"message": "no", "code": 404}, ModelMissing),
    ({"message": "no", "code": 429}, RateLimited),
    ({"message": "no", "code": "rate_limit_exceeded"}, RateLimited),
    ({"message": "no", "code": 503}, TransientModelError),
    ({"message": "no", "type": "overloaded_error"}, TransientModelError),
    ({"message": "no"}, TransientModelError),
    ("no", TransientModelError),
    ([{"message": "no", "code": 400}], PermanentModelError),
]
FORMS = {
    "data": lambda error: chunk({"error": error}),
    "data beside choices": lambda error: chunk({"choices": [], "error": error}),
    "x_groq": lambda error: chunk({"choices": [], "x_groq": {"error": error}}),
    "line": lambda error: b"error: " + json.dumps({"error": error}).encode() + b"\n\n",
    "event": lambda error: (
        b"event: error\ndata: " + json.dumps({"error": error}).encode() + b"\n\n"
    ),
    "body": lambda error: json.dumps({"error": error}).encode(),
    "pretty body": lambda error: json.dumps({"error": error}, indent=2).encode(),
}


@pytest.mark.parametrize(("error", "kind"), ERRORS)
@pytest.mark.parametrize("form", FORMS)
def test_error_in_a_stream_is_judged_by_its_status_and_code(error, kind, form):
    failure = fail(FORMS[form](error))

    assert type(failure) is kind
    assert failure.message.endswith(": no")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'error: {"message":"no","code":400}\n\n', PermanentModelError),
        (b"error: no\n\n", TransientModelError),
        (b"data: error: no\n\n", TransientModelError),
        (b'data: {"object":"error","message":"no","code":400}\n\n', PermanentModelError),
        (b'data: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n',
         TransientModelError),
        (b'{"message":"no","code":400}', PermanentModelError),
        (b"Internal Server Error: no", TransientModelError),
    ],
)  # fmt: skip
def test_error_without_its_usual_frame_is_told_too(raw, kind):
    failure = fail(raw)

    assert type(failure) is kind
    assert failure.message.endswith("no")


def test_error_after_text_is_an_error():
    assert type(fail(said("a"), b'error: {"code":400,"message":"no"}\n\n', DONE)) is (
        PermanentModelError
    )


def test_words_of_a_server_are_bounded_plain_and_without_keys():
    words = "\x1b[2Jbad\n gsk_abcdefghijkl " + "x" * 5_000

    message = fail(chunk({"error": {"message": words, "code": 400}})).message

    assert len(message) < 400
    assert message.isprintable()
    assert "gsk_abc" not in message


@pytest.mark.parametrize("indent", [None, 2])
def test_completion_that_was_not_streamed_is_read(indent):
    body = {
        "object": "chat.completion",
        "choices": [{"message": {"content": "text"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    }

    assert read(json.dumps(body, indent=indent).encode()) == (
        "text",
        "stop",
        Usage(input_tokens=7, output_tokens=2),
    )


@pytest.mark.parametrize(
    "page", ["<!DOCTYPE html><title>Sign in</title>", "\n<html><TITLE>Sign in"]
)
def test_web_page_is_named(page):
    assert fail(page.encode()).message == (
        'The provider sent a web page ("Sign in"), not an answer.'
    )


def test_broken_chunk_may_pass():
    assert type(fail(b"data: {not json\n\n")) is TransientModelError
    assert type(fail(b"data: " + b"{" * 100_000 + b"\n\n")) is TransientModelError


@pytest.mark.parametrize("max_tokens", [1, 16, 100])
@pytest.mark.parametrize("size", [1, 7, 50_000])
def test_answer_is_cut_when_the_server_ignores_the_bound(max_tokens, size):
    text, finish_reason, _ = read(*[said("x" * size)] * (60_000 // size), max_tokens=max_tokens)

    assert (len(text), finish_reason) == (max_tokens * 16 + 1024, "length")


def test_whole_body_is_cut_too():
    body = json.dumps({"choices": [{"message": {"content": "x" * 15_000}}]}).encode()

    text, finish_reason, _ = read(body, max_tokens=16)

    assert (len(text), finish_reason) == (16 * 16 + 1024, "length")


def test_reasoning_without_an_end_is_cut():
    thought = chunk({"choices": [{"delta": {"reasoning": "hm " * 100}}]})

    assert read(*[thought] * 100, max_tokens=16)[:2] == ("", "length")


def test_stream_without_an_end_is_given_up():
    piece = b": ping\n\n" * 8_192

    with pytest.raises(TransientModelError, match="more bytes"):
        list(reader().items(piece for _ in range(2 * MAX_STREAM_BYTES // len(piece))))


def test_usage_that_cannot_be_true_of_a_text_is_none():
    assert read(said("a", "stop", usage={"prompt_tokens": 1, "completion_tokens": 0}))[2] is None


FIELDS = [
    *("choices", "index", "delta", "message", "text", "content", "finish_reason", "type"),
    *("error", "x_groq", "code", "status", "detail"),
    *("usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(st.one_of(JSON.map(chunk), st.binary(max_size=30), st.just(DONE))))
def test_anything_becomes_text_and_one_end_or_a_model_error(pieces):
    try:
        *texts, end = reader().items(pieces)
    except ModelError:
        return

    assert all(isinstance(text, TextDelta) and text.text.encode() for text in texts)
    assert isinstance(end, StreamEnd)
    if end.usage is not None:
        assert 0 <= end.usage.cached_input_tokens <= end.usage.input_tokens <= 10_000_000
        assert 0 <= end.usage.output_tokens <= 10_000_000
