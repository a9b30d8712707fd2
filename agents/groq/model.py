"""A `ChatModel` over Groq's API, or over any server that speaks OpenAI's protocol.

The only module that imports groq. The SDK's retries are off: it knows neither the job's deadline
nor the other calls. `agents.retry_policy` decides about retries, and nothing else does.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import groq
import httpx
import msgspec
from msgspec import Struct

from agents.groq.chunks import decode
from agents.groq.failures import Failure, clean, failure_in
from agents.groq.rate_limits import read_limits, read_retry_after_s
from agents.groq.route import ApiPath, proxy_for
from agents.groq.stream import AnswerReader
from agents.groq.transport import Call, InterruptibleTransport
from core.chat import ModelRequest, StreamEnd, TextDelta
from core.model_errors import (
    ModelError,
    ModelTimeout,
    PermanentModelError,
    TransientModelError,
    TurnStopped,
)
from core.stop import StopSignal

if TYPE_CHECKING:
    from groq.types.chat import ChatCompletionMessageParam

#: After a finish reason, wait this long for the usage; the answer is whole without it.
_USAGE_WITHIN_S: Final = 2.0
#: After `[DONE]`, wait this long for the end of the stream, so that its connection can be reused.
_END_WITHIN_S: Final = 0.1
#: Ids of models: an upstream lists at most so many, of at most so many characters.
_MAX_IDS: Final = 10_000
_MAX_ID_CHARS: Final = 200


class Timeouts(Struct, frozen=True):
    """How long a call waits, in seconds; its deadline bounds all of them.

    Attributes:
        connect_s: for a connection.
        first_byte_s: for the next byte, until the first piece of the answer is there.
        silence_s: for the next byte, from then on.
    """

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    silence_s: float = 20.0


class GroqModel:
    """Streams answers over one connection pool; thread-safe.

    Args:
        base_url: scheme and host, and the path of the API where it is known.
        max_connections: at least the number of concurrent calls.
        keeps_connections: False for a server that closes each, whatever it says.

    Raises:
        ValueError: the environment names a proxy of a kind that is not supported.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        max_connections: int,
        keeps_connections: bool = True,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
    ) -> None:
        self._timeouts = timeouts
        server, kept = httpx.URL(base_url), max_connections if keeps_connections else 0
        self._transport = InterruptibleTransport(
            httpx.Limits(max_connections=max_connections, max_keepalive_connections=kept),
            proxy_for(base_url, os.environ),
        )
        self._client = groq.Groq(
            # The SDK requires a key even where the server does not.
            api_key=api_key or "none",
            base_url=server.copy_with(path="/"),
            max_retries=0,
            # The raw bytes of the stream are parsed, so they must not be compressed.
            default_headers={"accept-encoding": "identity"},
            http_client=httpx.Client(
                transport=ApiPath(self._transport, server.path.rstrip("/")),
                follow_redirects=False,
                trust_env=False,
            ),
        )

    def close(self) -> None:
        self._client.close()

    def list_models(self, *, timeout_s: float) -> set[str]:
        """Return the ids of the models that the provider serves.

        Raises:
            ModelError: the provider did not answer with a list.
        """
        models = self._client.models.with_streaming_response
        deadline = time.monotonic() + timeout_s
        with (
            _model_errors(),
            self._transport.call(deadline),
            models.list(timeout=timeout_s) as response,
        ):
            body = b"".join(response.http_response.iter_raw())
        try:
            found = decode(body.decode(errors="replace"))
        except ValueError:
            found = None
        listed = found.get("data") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            raise TransientModelError("The provider's list of models could not be read.")
        ids = (model.get("id") for model in listed[:_MAX_IDS] if isinstance(model, dict))
        return {id_ for id_ in ids if isinstance(id_, str) and len(id_) <= _MAX_ID_CHARS}

    def stream(
        self, request: ModelRequest, *, deadline: float, stop: StopSignal
    ) -> Iterator[TextDelta | StreamEnd]:
        """Stream one answer; see `core.chat.ChatModel` for the contract."""
        left_s = deadline - time.monotonic()
        if stop.reason is not None or left_s <= 0:
            raise TurnStopped
        try:
            with (
                _model_errors(),
                self._transport.call(deadline) as call,
                stop.closing_with(call.interrupt),
                self._open(request, left_s) as response,
            ):
                reader = AnswerReader(
                    request.max_tokens,
                    read_limits(response.headers),
                    on_text=lambda: call.bound_silence(self._timeouts.silence_s),
                    on_finish=lambda: call.end_within(_USAGE_WITHIN_S),
                    on_done=lambda: call.end_within(_END_WITHIN_S),
                )
                yield from _until_stopped(reader, response, call, deadline, stop)
        except ModelError as error:
            # A stop closes the connection, and the deadline bounds each read: both arrive here as
            # errors of the connection.
            is_late = isinstance(error, ModelTimeout) and time.monotonic() >= deadline
            if stop.reason is not None or is_late:
                raise TurnStopped from error
            raise

    @contextlib.contextmanager
    def _open(self, request: ModelRequest, left_s: float) -> Iterator[httpx.Response]:
        optional: dict[str, Any] = {}
        if request.temperature is not None:
            optional["temperature"] = request.temperature
        with self._client.chat.completions.with_streaming_response.create(
            model=request.model,
            messages=_to_wire(request),
            max_completion_tokens=request.max_tokens,
            stream=True,
            # Groq always sends usage with its last chunk; other servers only on request.
            extra_body={"stream_options": {"include_usage": True}} | request.sampling,
            timeout=httpx.Timeout(
                min(self._timeouts.first_byte_s, left_s),
                connect=min(self._timeouts.connect_s, left_s),
            ),
            **optional,
        ) as response:
            yield response.http_response


def _to_wire(request: ModelRequest) -> list[ChatCompletionMessageParam]:
    wire: list[ChatCompletionMessageParam] = msgspec.to_builtins(list(request.messages))
    return wire


def _until_stopped(
    reader: AnswerReader, response: httpx.Response, call: Call, deadline: float, stop: StopSignal
) -> Iterator[TextDelta | StreamEnd]:
    """Yield the answer's items, and look for a stop between the pieces.

    Raises:
        TurnStopped: `stop` was set or the deadline passed.
    """

    def pieces() -> Iterator[bytes]:
        try:
            for piece in response.iter_raw():
                yield piece
                # A stop may come before there is a connection that it could close.
                if stop.reason is not None or time.monotonic() >= deadline:
                    raise TurnStopped
        except httpx.TransportError:
            # The answer was whole before; only its connection is lost.
            if not call.is_whole:
                raise

    for item in reader.items(pieces()):
        if stop.reason is not None or time.monotonic() >= deadline:
            raise TurnStopped
        yield item


@contextlib.contextmanager
def _model_errors() -> Iterator[None]:
    """Map every error of the SDK, and of httpx below it, to a `ModelError`."""
    try:
        yield
    except groq.APIStatusError as error:
        raise _of_status(error) from error
    except (groq.APITimeoutError, httpx.TimeoutException) as error:
        raise ModelTimeout from error
    except (groq.APIConnectionError, httpx.TransportError) as error:
        raise TransientModelError("The connection to the provider broke.") from error
    except (groq.APIResponseValidationError, httpx.DecodingError) as error:
        raise TransientModelError("The provider's answer could not be read.") from error
    except (groq.GroqError, httpx.HTTPError, httpx.StreamError) as error:
        raise PermanentModelError("The provider could not be asked.") from error


def _of_status(error: groq.APIStatusError) -> ModelError:
    status = error.status_code
    failure = failure_in(error.body, status=status) or Failure(status=status)
    if not failure.message:
        failure = msgspec.structs.replace(failure, message=clean(error.response.reason_phrase))
    return failure.to_error(retry_after_s=read_retry_after_s(error.response.headers))
