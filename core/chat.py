"""What is said to a model and what comes back, whichever provider answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Literal, Protocol

from msgspec import Struct

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


class StopReason(StrEnum):
    """Why a running call has to end early."""

    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    #: Another attempt holds the job; nothing this one does counts any more.
    LOST = "lost"


class StopSignal:
    """Asks one running job to stop, from any thread; the first reason stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = threading.Event()
        self._reason: StopReason | None = None
        self._close: Callable[[], None] | None = None

    @property
    def reason(self) -> StopReason | None:
        return self._reason

    def stop(self, reason: StopReason) -> None:
        """Set the reason and wake the call that waits in `closing_with`; a repeat does nothing."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            self._is_set.set()
            close = self._close
        if close is not None:
            close()

    def wait(self, timeout_s: float) -> None:
        """Return after `timeout_s`, or at once when the signal comes."""
        self._is_set.wait(timeout_s)

    @contextmanager
    def closing_with(self, close: Callable[[], None]) -> Iterator[None]:
        """Have `close` called, from another thread, if the signal comes while the block runs.

        `close` must be safe to call at any moment and has to make a blocked read return. It is
        called at once when the signal came before.
        """
        with self._lock:
            self._close = close
            stopped = self._reason is not None
        if stopped:
            close()
        try:
            yield
        finally:
            with self._lock:
                self._close = None


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
