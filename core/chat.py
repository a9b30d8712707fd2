"""What is said to a model and what comes back, whichever provider answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from msgspec import Struct

from core.stop import StopSignal

Role = Literal["system", "user", "assistant"]


class Message(Struct, frozen=True):
    """One entry of a conversation as a model sees it."""

    role: Role
    content: str


class Usage(Struct, frozen=True):
    """Tokens one or more model calls used; `cached_input_tokens` are part of `input_tokens`."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class ModelRequest(Struct, frozen=True, kw_only=True):
    """One call to a model; `model` is the provider's id.

    Attributes:
        booking: names the call's place in the line for the provider's budget, which a later
            attempt under the same name takes again; empty for a call that has none.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    booking: str = ""


class TextDelta(Struct, frozen=True):
    """The next piece of the answer."""

    text: str


class Allowance(Struct, frozen=True):
    """One of a provider's limits as it stood when the call came: full again after `reset_s`."""

    limit: int
    remaining: int
    reset_s: float


class RateLimits(Struct, frozen=True):
    """What a provider says of its limits; None where it says nothing."""

    requests: Allowance | None = None
    tokens: Allowance | None = None


class StreamEnd(Struct, frozen=True, kw_only=True):
    """The last item of every stream that did not raise.

    `usage` is None when the provider sent none; the caller then estimates it.
    """

    finish_reason: str
    usage: Usage | None = None
    limits: RateLimits = RateLimits()


class ChatModel(Protocol):
    """Answers a request as a stream."""

    def stream(
        self, request: ModelRequest, *, deadline: float, stop: StopSignal
    ) -> Iterator[TextDelta | StreamEnd]:
        """Yield text as it arrives, then one `StreamEnd`.

        Args:
            deadline: `time.monotonic()` value after which the call is given up.
            stop: ends the call early, even inside a blocked read.

        Raises:
            TurnStopped: `stop` was set or the deadline passed; the call is closed upstream.
            ModelError: the provider failed; a subclass says whether a repeat may help.
        """
        ...
