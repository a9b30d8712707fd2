"""Calls of one model within a budget of money."""

from __future__ import annotations

import time
from typing import Final

from msgspec import Struct

from agents.retry_policy import ComeBack, TryAgain, next_step
from core.chat import ChatModel, Message, ModelRequest, StreamEnd, Usage
from core.model_errors import ModelError, TurnStopped
from core.models import PROMPT_TOKENS, Catalogue, Model
from core.stop import StopSignal

#: How long one question may take, its waits for the provider's budget included.
_WITHIN_S: Final = 600.0


def byte_count(text: str) -> int:
    return len(text.encode(errors="replace"))


class BudgetUsedUp(Exception):
    """The next call could cost more than is left."""


class CallFailed(Exception):
    """The model gave no answer; the text says why."""


class PaidReply(Struct, frozen=True):
    """What a call returned, and its price."""

    text: str
    finish_reason: str
    cost_micros: int


class PaidModel:
    """Asks a model, and no fallback, as long as the highest price of the next call is left.

    Attributes:
        spent_micros: the price of all calls, by the provider's usage; a call that broke off after
            its first text counts with its highest price, one that brought nothing costs nothing.
    """

    def __init__(
        self, chat_model: ChatModel, catalogue: Catalogue, model: Model, *, budget_micros: int
    ) -> None:
        self._chat_model = chat_model
        self._catalogue = catalogue
        self._model = model
        self._budget_micros = budget_micros
        self.spent_micros = 0

    def most_micros(self, prompt_bytes: int, max_tokens: int) -> int:
        """Return the highest price of a call: no token is shorter than a byte."""
        usage = Usage(input_tokens=PROMPT_TOKENS + prompt_bytes, output_tokens=max_tokens)
        return self._catalogue.cost_micros(self._model, usage)

    def require(self, micros: int) -> None:
        """Raise BudgetUsedUp unless so much is left."""
        if self.spent_micros + micros > self._budget_micros:
            raise BudgetUsedUp

    def ask(
        self,
        messages: tuple[Message, ...],
        *,
        booking: str,
        max_tokens: int,
        temperature: float | None,
    ) -> PaidReply:
        """Return the model's reply, asked again after a failure where that may help.

        Args:
            booking: names the call's place in the line for the provider's budget.

        Raises:
            BudgetUsedUp, CallFailed
        """
        request = ModelRequest(
            model=self._model.id,
            messages=messages,
            max_tokens=min(max_tokens, self._model.max_output_tokens),
            temperature=temperature,
            booking=booking,
        )
        deadline = time.monotonic() + _WITHIN_S
        tries = 0
        while True:
            tries += 1
            try:
                return self._call(request, deadline)
            except TurnStopped:
                raise CallFailed("The call took too long.") from None
            except ModelError as error:
                step = next_step(error, tries=tries, left_s=deadline - time.monotonic())
                if not isinstance(step, TryAgain | ComeBack):
                    raise CallFailed(error.message) from error
                time.sleep(step.wait_s)

    def _call(self, request: ModelRequest, deadline: float) -> PaidReply:
        prompt_bytes = sum(byte_count(message.content) for message in request.messages)
        most_micros = self.most_micros(prompt_bytes, request.max_tokens)
        self.require(most_micros)
        text: list[str] = []
        cost_micros = 0
        try:
            for item in self._chat_model.stream(request, deadline=deadline, stop=StopSignal()):
                if isinstance(item, StreamEnd):
                    if item.usage is not None:
                        cost_micros = self._catalogue.cost_micros(self._model, item.usage)
                    return PaidReply("".join(text), item.finish_reason, cost_micros)
                text.append(item.text)
                cost_micros = most_micros
        finally:
            self.spent_micros += cost_micros
        raise AssertionError("a stream ends with StreamEnd or raises")
