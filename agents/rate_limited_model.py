"""A model that is called only when the provider's budget, shared by all workers, allows it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from agents.retry_policy import SHORTEST_TRY_S, Throttle
from core.chat import ChatModel, ModelRequest, RateLimits, StreamEnd, TextDelta
from core.model_errors import BudgetUsedUp, TransientModelError, TurnStopped
from core.models import estimate_tokens
from core.stop import StopSignal

#: Tokens that a chat template adds to each message.
_FRAME_TOKENS: Final = 4
#: How far ahead a call is booked; whoever would wait longer waits in line, where shares decide.
LONGEST_BOOKING_S: Final = 1.0


class RateLimitedModel:
    """Wraps a model so that every call is booked with the throttle first.

    A short wait happens here, in the caller's thread. Nothing is booked further ahead: a longer one
    is raised as `BudgetUsedUp`, and the job waits in its user's line.
    """

    def __init__(self, chat_model: ChatModel, throttle: Throttle) -> None:
        self._chat_model = chat_model
        self._throttle = throttle

    def stream(
        self, request: ModelRequest, *, deadline: float, stop: StopSignal
    ) -> Iterator[TextDelta | StreamEnd]:
        """Stream one answer once the budget allows it; see `core.chat.ChatModel` for the contract.

        Raises:
            BudgetUsedUp: the wait is too long for this thread or for the deadline.
        """
        call = _Call(_input_tokens(request), request.max_tokens)
        self._wait_for_start(request, call.booked_tokens, deadline, stop)
        call.began = time.monotonic()
        try:
            for item in self._chat_model.stream(request, deadline=deadline, stop=stop):
                call.record(item)
                yield item
        except TransientModelError as error:
            call.closed_for_s = error.retry_after_s or 0.0
            raise
        finally:
            self._throttle.settle(
                request.model,
                unused_tokens=call.booked_tokens - call.used_tokens,
                limits=call.limits,
                age_s=time.monotonic() - call.began,
                closed_for_s=call.closed_for_s,
            )

    def _wait_for_start(
        self, request: ModelRequest, tokens: int, deadline: float, stop: StopSignal
    ) -> None:
        booking = request.booking or secrets.token_hex(8)
        while True:
            left_s = deadline - time.monotonic()
            if stop.reason is not None or left_s <= 0:
                raise TurnStopped
            wait_s = self._throttle.book(
                request.model,
                booking,
                tokens=tokens,
                longest_wait_s=min(LONGEST_BOOKING_S, left_s - SHORTEST_TRY_S),
            )
            if wait_s == 0:
                return
            if not 0 < wait_s <= LONGEST_BOOKING_S or wait_s + SHORTEST_TRY_S >= left_s:
                raise BudgetUsedUp(
                    "The provider's budget is used up.", retry_after_s=max(0.0, wait_s)
                )
            stop.wait(wait_s)


class _Call(Struct):
    """What is known so far of one call; a call that yielded nothing counts as unused."""

    input_tokens: int
    max_output_tokens: int
    began: float = 0.0
    used_tokens: int = 0
    limits: RateLimits = RateLimits()
    closed_for_s: float = 0.0

    @property
    def booked_tokens(self) -> int:
        return self.input_tokens + self.max_output_tokens

    def record(self, item: TextDelta | StreamEnd) -> None:
        if isinstance(item, StreamEnd):
            self.limits = item.limits
            # The provider's own count replaces the estimate from the text.
            if item.usage is not None:
                self.used_tokens = item.usage.total_tokens
        else:
            self.used_tokens = (self.used_tokens or self.input_tokens) + estimate_tokens(item.text)


def _input_tokens(request: ModelRequest) -> int:
    return sum(_FRAME_TOKENS + estimate_tokens(message.content) for message in request.messages)
