"""A `ChatModel` over Groq's API, or over any server that speaks OpenAI's protocol.

The only module that imports groq. The SDK's retries are off: it knows neither the job's deadline
nor the other calls. `agents.retry_policy` decides about retries, and nothing else does.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import groq
import httpx
import msgspec

from agents.groq.rate_limits import read_limits
from agents.groq.sse import Chunk, read_chunks
from agents.groq.transport import Call, InterruptibleTransport
from core.chat import ModelRequest, RateLimits, StreamEnd, TextDelta, Usage
from core.errors import (
    ModelError,
    ModelMissing,
    ModelTimeout,
    PermanentModelError,
    RateLimited,
    TransientModelError,
    TurnStopped,
)
from core.stop import StopSignal

if TYPE_CHECKING:
    from groq.types.chat import ChatCompletionMessageParam

#: A provider's error message is cut to this length, in characters.
_MESSAGE_CHARS: Final = 300
#: An answer with more characters fails: three times the length of 65,536 tokens of prose.
_MAX_ANSWER_CHARS: Final = 1_000_000
#: After `[DONE]`, wait this long for the end of the stream, so that its connection can be reused.
_END_WITHIN_S: Final = 0.1
#: Statuses worth a repeat; 498 is Groq's "no flex capacity".
_TRANSIENT_STATUSES: Final = frozenset({408, 409, 498})


class GroqModel:
    """Streams answers over one connection pool; thread-safe.

    Args:
        base_url: scheme and host; the SDK appends `/openai/v1/…` itself.
        max_connections: at least the number of concurrent calls.
        idle_timeout_s: how long a call waits for the next piece of a stream.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        max_connections: int,
        idle_timeout_s: float = 20.0,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._transport = InterruptibleTransport(
            httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        )
        self._client = groq.Groq(
            # The SDK requires a key even where the server does not.
            api_key=api_key or "none",
            base_url=base_url,
            max_retries=0,
            # The raw bytes of the stream are parsed, so they must not be compressed.
            default_headers={"accept-encoding": "identity"},
            http_client=httpx.Client(transport=self._transport, follow_redirects=False),
        )

    def close(self) -> None:
        self._client.close()

    def list_models(self, *, timeout_s: float) -> set[str]:
        """Return the ids of the models that the provider serves.

        Raises:
            ModelError: the provider did not answer with a list.
        """
        with _model_errors():
            return {model.id for model in self._client.models.list(timeout=timeout_s).data}

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
                self._transport.call() as call,
                stop.closing_with(call.interrupt),
                self._open(request, left_s) as response,
            ):
                limits = read_limits(response.headers)
                yield from _items(_chunks(response, call), limits, deadline, stop)
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
            extra_body={"stream_options": {"include_usage": True}},
            timeout=httpx.Timeout(
                min(self._idle_timeout_s, left_s), connect=min(self._connect_timeout_s, left_s)
            ),
            **optional,
        ) as response:
            yield response.http_response


def _to_wire(request: ModelRequest) -> list[ChatCompletionMessageParam]:
    wire: list[ChatCompletionMessageParam] = msgspec.to_builtins(list(request.messages))
    return wire


def _chunks(response: httpx.Response, call: Call) -> Iterator[Chunk]:
    """Read the stream to its end, but wait only briefly for that after `[DONE]`."""

    def shorten_reads() -> None:
        call.read_timeout_s = _END_WITHIN_S

    try:
        yield from read_chunks(response.iter_raw(), shorten_reads)
    except httpx.ReadTimeout:
        if call.read_timeout_s is None:
            raise


def _items(
    chunks: Iterator[Chunk], limits: RateLimits, deadline: float, stop: StopSignal
) -> Iterator[TextDelta | StreamEnd]:
    """Yield the chunks' text, then the end.

    Raises:
        TransientModelError: the stream broke off, ended without a finish reason, or was too long.
        TurnStopped: `stop` was set or the deadline passed.
    """
    finish_reason: str | None = None
    usage: Usage | None = None
    answer_chars = 0
    for chunk in chunks:
        # A stop may come before there is a connection that it could close.
        if stop.reason is not None or time.monotonic() >= deadline:
            raise TurnStopped
        if chunk.failure is not None:
            raise TransientModelError(f"The provider broke off: {chunk.failure[:_MESSAGE_CHARS]}")
        usage = chunk.billed or usage
        for choice in chunk.choices:
            finish_reason = choice.finish_reason or finish_reason
            if choice.delta.content:
                answer_chars += len(choice.delta.content)
                if answer_chars > _MAX_ANSWER_CHARS:
                    raise TransientModelError(
                        "The provider sent more text than an answer can have."
                    )
                yield TextDelta(choice.delta.content)
    if finish_reason is None:
        raise TransientModelError("The provider's stream ended before the answer did.")
    yield StreamEnd(finish_reason=finish_reason, usage=usage, limits=limits)


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
    except (groq.GroqError, httpx.HTTPError) as error:
        raise PermanentModelError("The provider could not be asked.") from error


def _of_status(error: groq.APIStatusError) -> ModelError:
    message = f"The provider answered {error.status_code}: {_provider_message(error)}"
    if error.status_code == 429:
        return RateLimited(message, retry_after_s=_retry_after_s(error.response))
    if error.status_code >= 500 or error.status_code in _TRANSIENT_STATUSES:
        return TransientModelError(message)
    return ModelMissing(message) if error.status_code == 404 else PermanentModelError(message)


def _provider_message(error: groq.APIStatusError) -> str:
    # With 401, some servers quote the refused key in their message: it must not reach a user.
    body = None if error.status_code == 401 else error.body
    inner = body.get("error") if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else None
    return message[:_MESSAGE_CHARS] if isinstance(message, str) else error.response.reason_phrase


def _retry_after_s(response: httpx.Response) -> float | None:
    try:
        wait_s = float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, wait_s) if math.isfinite(wait_s) else None
