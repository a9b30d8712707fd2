"""A request to a language model and its streamed answer, for any provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from msgspec import Struct

from core.stop import StopSignal

Role = Literal["system", "user", "assistant"]


class Message(Struct, frozen=True):
    """One message of a conversation, in the form that models take."""

    role: Role
    content: str


class Usage(Struct, frozen=True):
    """Tokens that model calls used; `cached_input_tokens` are included in `input_tokens`."""

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
        sampling: options beyond OpenAI's that the model's server takes.
        booking: names the call's place in the line for the provider's budget. A later attempt
            with the same name keeps that place; an empty one gets a new place each time.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    sampling: dict[str, float] = {}
    booking: str = ""


class TextDelta(Struct, frozen=True):
    """The next piece of the answer."""

    text: str


class Allowance(Struct, frozen=True):
    """What was left of one of a provider's limits at a call; `reset_s` later it is full again."""

    limit: int
    remaining: int
    reset_s: float


class RateLimits(Struct, frozen=True):
    """A provider's limits as its response reports them; None where it reports none."""

    requests: Allowance | None = None
    tokens: Allowance | None = None


class StreamEnd(Struct, frozen=True, kw_only=True):
    """The last item of a stream that did not fail.

    `usage` is None when the provider sent none; the caller then estimates it.

    Attributes:
        hidden_tokens: of the output, those that no text came of: the model's thoughts.
    """

    finish_reason: str
    usage: Usage | None = None
    hidden_tokens: int = 0
    limits: RateLimits = RateLimits()


class ChatModel(Protocol):
    """A language model that streams its answers."""

    def stream(
        self, request: ModelRequest, *, deadline: float, stop: StopSignal
    ) -> Iterator[TextDelta | StreamEnd]:
        """Yield text as it arrives, then one `StreamEnd`.

        Args:
            deadline: `time.monotonic()` value at which the call ends, complete or not.
            stop: ends the call early, even inside a blocked read.

        Raises:
            TurnStopped: `stop` was set or the deadline passed; the call is closed upstream.
            ModelError: the provider failed; its subclass decides what follows.
        """
        ...
