"""The groq SDK against a local server that speaks its protocol."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time

import groq
import httpx
import msgspec
import pytest

from agents.groq.model import GroqModel, Timeouts, _model_errors
from core.chat import Message, ModelRequest, StreamEnd, TextDelta
from core.errors import AetherError
from core.model_errors import (
    ModelError,
    ModelMissing,
    ModelTimeout,
    PermanentModelError,
    RateLimited,
    TransientModelError,
    TurnStopped,
)
from core.stop import StopReason, StopSignal
from tests.services import start_stub, wait_until


@pytest.fixture
def open_model(stub_server):
    """Makes models of the stub upstream and closes them after the test."""
    opened = []

    def open_one(key="key", url=stub_server.url, **options):
        opened.append(GroqModel(key, url, max_connections=4, **options))
        return opened[-1]

    httpx.post(f"{stub_server.url}/stub/reset")
    yield open_one
    for model in opened:
        model.close()


@pytest.fixture
def model(open_model):
    return open_model()


def request(directive=""):
    message = f"question [[stub:{directive}]]" if directive else "question"
    return ModelRequest(model="m", messages=(Message("user", message),), max_tokens=100)


def ask(model, directive="", *, stop=None, within_s=5.0):
    deadline = time.monotonic() + within_s
    return list(model.stream(request(directive), deadline=deadline, stop=stop or StopSignal()))


def stats(stub_server):
    return httpx.get(f"{stub_server.url}/stub/stats").json()


@pytest.fixture
def answer_with(open_model):
    """Makes a model whose server answers one request with the given bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heads = []

        def answer(raw, stays_open):
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                heads.append(connection.recv(65_536))
                connection.sendall(raw)
                if not stays_open:
                    connection.shutdown(socket.SHUT_WR)
                # Closing on what was not read would take the answer back.
                while connection.recv(65_536):
                    pass

        def make(raw, *, stays_open=False, **options):
            threading.Thread(target=answer, args=[raw, stays_open], daemon=True).start()
            model = open_model(url=f"http://127.0.0.1:{listener.getsockname()[1]}", **options)
            model.heads = heads
            return model

        yield make


def response(status, body, *headers):
    lines = [f"HTTP/1.1 {status} Said", *headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def test_text_and_usage_arrive_when_the_provider_answers(model):
    *pieces, end = ask(model, "tokens=3")

    assert pieces == [TextDelta("token-1 "), TextDelta("token-2 "), TextDelta("token-3 ")]
    assert (end.finish_reason, end.usage.output_tokens) == ("stop", 3)
    assert end.usage.input_tokens > 0


def test_connection_is_reused_when_calls_follow_each_other(model):
    for _ in range(5):
        ask(model)

    (connection,) = model._transport._pool.connections
    assert connection.is_idle()


def test_usage_is_absent_when_the_provider_sends_none(model):
    assert ask(model, "no_usage")[-1] == StreamEnd(finish_reason="stop", usage=None)


def test_limits_are_handed_out_when_the_provider_tells_them(open_model, tmp_path):
    options = ("--requests-per-minute", "10", "--tokens-per-minute", "1000")
    server = start_stub(tmp_path, *options, first_token_ms=1)
    model = open_model(url=server.url)

    limits = ask(model)[-1].limits
    server.stop()

    assert (limits.requests.limit, limits.requests.remaining) == (10, 9)
    assert (limits.tokens.limit, limits.tokens.remaining) == (1_000, 1_000 - 12)
    assert 59 < limits.requests.reset_s <= 60


def test_stub_refuses_and_says_when_its_limit_is_reached(open_model, tmp_path):
    server = start_stub(tmp_path, "--requests-per-minute", "2", first_token_ms=1)
    model = open_model(url=server.url)
    for _ in range(2):
        ask(model)

    with pytest.raises(RateLimited) as refusal:
        ask(model)
    counted = stats(server)["over_limit"]
    server.stop()

    assert refusal.value.retry_after_s is not None
    assert 0 < refusal.value.retry_after_s <= 60
    assert counted == 1


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("429 retry_after=7", RateLimited),
        ("500", TransientModelError),
        ("503", TransientModelError),
        ("498", TransientModelError),
        ("408", TransientModelError),
        ("409", TransientModelError),
        ("400", PermanentModelError),
        ("401", PermanentModelError),
        ("403", PermanentModelError),
        ("404", ModelMissing),
        ("413", PermanentModelError),
        ("422", PermanentModelError),
        ("cut_after=3", TransientModelError),
        ("error_after=3", TransientModelError),
        ("garbage_after=3", TransientModelError),
    ],
)
def test_failure_has_the_right_class_when_the_provider_fails(model, directive, error):
    with pytest.raises(ModelError) as failure:
        ask(model, directive)

    assert type(failure.value) is error


def test_wait_is_passed_on_when_the_provider_names_one(model):
    with pytest.raises(RateLimited) as failure:
        ask(model, "429 retry_after=7")

    assert failure.value.retry_after_s == 7.0


def test_key_is_in_no_message_when_the_provider_refuses_it(open_model):
    model = open_model("gsk_very_secret")

    with pytest.raises(PermanentModelError) as failure:
        ask(model, "401")

    assert "gsk_" not in failure.value.message


def test_key_is_in_no_message_when_the_provider_repeats_it(answer_with):
    body = b'{"error":{"message":"Incorrect API key provided: gsk_very_secret"}}'
    model = answer_with(
        response(401, body, "content-type: application/json"), key="gsk_very_secret"
    )

    with pytest.raises(PermanentModelError) as failure:
        ask(model)

    assert "gsk_" not in failure.value.message


@pytest.mark.parametrize("wait", ["inf", "nan", "soon"])
def test_wait_is_unknown_when_the_provider_names_no_time(answer_with, wait):
    model = answer_with(response(429, b"{}", f"retry-after: {wait}"))

    with pytest.raises(RateLimited) as failure:
        ask(model)

    assert failure.value.retry_after_s is None


def test_stream_is_asked_for_uncompressed(answer_with):
    body = (
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    model = answer_with(response(200, body))

    ask(model)

    assert b"accept-encoding: identity\r\n" in model.heads[0].lower()


def test_call_ends_when_the_stream_is_done_and_its_connection_stays_open(answer_with):
    body = (
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    head = b"HTTP/1.1 200 Said\r\ntransfer-encoding: chunked\r\n\r\n"
    model = answer_with(head + b"%x\r\n%s\r\n" % (len(body), body), stays_open=True)

    *_, end = ask(model, within_s=5)

    assert end.finish_reason == "stop"


def test_answer_is_cut_when_it_does_not_end(answer_with):
    line = b'data: {"choices":[{"delta":{"content":"' + b"x" * 600_000 + b'"}}]}\n\n'
    model = answer_with(response(200, line * 2))

    text, end = ask(model)

    assert (len(text.text), end.finish_reason) == (100 * 16 + 1024, "length")


def dripping(head, drop):
    """Answer one request with a head, and then with a drop of bytes every 20 ms."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with listener, connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(head)
            connection.settimeout(0.02)
            while True:
                connection.sendall(drop)
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(65_536):
                        return

    threading.Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


OK = b"HTTP/1.1 200 OK\r\n\r\n"
WHOLE = OK + b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nx-slow: ", b"x"),
        (OK, b": ping\n\n"),
        (OK, b"x"),
        (OK, b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'),
        (b"HTTP/1.1 500 Said\r\n\r\n", b"x"),
    ],
    ids=["head", "comments", "line", "text", "error"],
)
def test_call_ends_when_the_deadline_passes_however_the_bytes_drip(open_model, head, drop):
    with pytest.raises((TurnStopped, TransientModelError)):
        ask(open_model(url=dripping(head, drop)), within_s=0.5)


@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"])
def test_answer_is_whole_when_its_connection_drips_on_after_the_end(open_model, done):
    text, end = ask(open_model(url=dripping(WHOLE + done, b": ping\n\n")), within_s=30)

    assert (text, end.finish_reason) == (TextDelta("a"), "stop")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data":null}', b"<html>", b'{"data":{}}'])
def test_list_of_models_that_cannot_be_read_is_a_passing_failure(answer_with, body):
    with pytest.raises(TransientModelError):
        answer_with(response(200, body)).list_models(timeout_s=5)


def test_ids_of_models_are_bounded(answer_with):
    ids = ["a", "x" * 5_000, None, 5]
    body = msgspec.json.encode({"data": [{"id": id_} for id_ in ids] + [None, "b"]})

    assert answer_with(response(200, body)).list_models(timeout_s=5) == {"a"}


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "x-unknown"])
def test_compressed_answer_is_not_read(answer_with, encoding):
    model = answer_with(response(200, b"x" * 100, f"content-encoding: {encoding}"))

    with pytest.raises(TransientModelError):
        ask(model)


@pytest.mark.parametrize("charset", ["zlib", "hex", "idna", "utf-7", "nonsense"])
def test_charset_of_an_error_is_not_believed(answer_with, charset):
    model = answer_with(
        response(400, b'{"error":{"message":"no"}}', f"content-type: text/plain; charset={charset}")
    )

    with pytest.raises(PermanentModelError, match=r"no$"):
        ask(model)


def test_redirect_is_not_followed(answer_with):
    model = answer_with(response(307, b"", "location: http://127.0.0.1:9/"))

    with pytest.raises(PermanentModelError):
        ask(model)


def test_nobody_listening_is_a_passing_failure(open_model):
    model = open_model(url="http://127.0.0.1:9")

    with pytest.raises(TransientModelError):
        ask(model)


def test_silence_is_a_timeout_when_it_lasts_too_long(open_model):
    model = open_model(timeouts=Timeouts(silence_s=0.2))

    with pytest.raises(ModelTimeout):
        ask(model, "stall_after=2")


@pytest.mark.parametrize("directive", ["stall_before", "stall_after=3"])
def test_upstream_call_ends_when_it_is_stopped_and_the_upstream_is_silent(
    model, stub_server, directive
):
    stop = StopSignal()
    threading.Timer(0.2, stop.stop, [StopReason.CANCELLED]).start()

    with pytest.raises(TurnStopped):
        # Without the stop it would end by its silence, as a timeout, or far later by this.
        ask(model, directive, stop=stop, within_s=600.0)

    wait_until(lambda: stats(stub_server)["in_flight"] == 0, 10, "the stub to see it")
    assert stats(stub_server)["client_closed"] == 1


def test_no_more_text_comes_when_it_is_stopped_between_two_pieces(model):
    stop = StopSignal()
    items = model.stream(request(), deadline=time.monotonic() + 5, stop=stop)
    next(items)

    stop.stop(StopReason.CANCELLED)

    with pytest.raises(TurnStopped):
        next(items)


def test_stub_sees_it_when_a_client_hangs_up_before_the_first_token(stub_server):
    body = msgspec.json.encode(
        {"messages": [{"role": "user", "content": "q"}], "max_completion_tokens": 1}
    )
    host, port = stub_server.url.removeprefix("http://").split(":")
    httpx.post(f"{stub_server.url}/stub/reset")

    with socket.create_connection((host, int(port))) as client:
        head = f"POST /openai/v1/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)

    wait_until(lambda: stats(stub_server)["client_closed"] == 1, 10, "the stub to see it")


def test_nothing_is_sent_when_it_was_stopped_before(model, stub_server):
    stop = StopSignal()
    stop.stop(StopReason.CANCELLED)

    with pytest.raises(TurnStopped):
        ask(model, stop=stop)

    assert stats(stub_server)["requests"] == 0


def test_slow_drip_ends_when_the_deadline_passes(model):
    with pytest.raises(TurnStopped):
        ask(model, "tokens=100 gap_ms=50", within_s=0.3)


def test_silence_is_a_stop_when_the_deadline_passes_in_it(model):
    with pytest.raises(TurnStopped):
        ask(model, "stall_after=2", within_s=0.3)


def test_ids_are_listed_when_the_provider_is_asked_for_its_models(model):
    assert "openai/gpt-oss-20b" in model.list_models(timeout_s=5)


def sdk_errors():
    return [
        value
        for _, value in inspect.getmembers(groq, inspect.isclass)
        if issubclass(value, groq.GroqError)
    ]


def make(error):
    """Build an SDK error of the class, whatever its constructor wants."""
    asked = httpx.Request("POST", "http://127.0.0.1")
    answered = httpx.Response(getattr(error, "status_code", 400) or 400, request=asked)
    if issubclass(error, groq.APIStatusError):
        return error("said", response=answered, body=None)
    if issubclass(error, groq.APIResponseValidationError):
        return error(answered, None)
    if issubclass(error, groq.APITimeoutError):
        return error(asked)
    if issubclass(error, groq.APIConnectionError):
        return error(request=asked)
    if issubclass(error, groq.APIError):
        return error("said", asked, body=None)
    return error("said")


@pytest.mark.parametrize("error", sdk_errors(), ids=lambda error: error.__name__)
def test_every_error_of_the_sdk_becomes_one_of_ours(error):
    with pytest.raises(AetherError) as failure, _model_errors():
        raise make(error)

    assert isinstance(failure.value, ModelError)


def test_no_error_of_the_sdk_is_unheard_of():
    """Fails when the SDK gains an error: decide on its class in `_model_errors` first."""
    assert {error.__name__ for error in sdk_errors()} == {
        "APIConnectionError",
        "APIError",
        "APIResponseValidationError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "ConflictError",
        "GroqError",
        "InternalServerError",
        "NotFoundError",
        "PermissionDeniedError",
        "RateLimitError",
        "UnprocessableEntityError",
    }
