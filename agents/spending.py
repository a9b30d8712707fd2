"""What one turn may spend: what is held for it, what its calls have cost, what they need next.

The budgets themselves are in Redis. Before a call, and while its text grows, more is held where
what is held does not suffice; the text that is not covered ends the turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

from core.chat import Message, StreamEnd, Usage
from core.lessons import NOTHING_LEARNED, CallSample, Lesson
from core.model_errors import BudgetGone, BudgetHeld, CostLimitReached
from core.models import Catalogue, Model

#: More is held in steps of so many output tokens.
STEP_TOKENS: Final = 256
#: It is asked for while so many are still covered, so that text seldom waits for it.
_MARGIN_TOKENS: Final = 64


class Funding(StrEnum):
    """What came of asking for more."""

    HELD = "held"
    #: Other unfinished jobs hold what is left.
    BUSY = "busy"
    #: The budgets do not cover it.
    GONE = "gone"


class Spending:
    """The account of one turn, shared by the thread that makes it and the one that writes its text.

    Args:
        user_id: whose answers it teaches about.
        held: micro-dollars that are held for the turn.
        paid: what earlier attempts at it have used of that.
        most: what it may cost in all; None for what the budgets cover.
        extend: asks that so much in all is held for the turn.
        lesson_of: what was learned of a model's answers.
        learn: is told of each call that ended by itself.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        user_id: str,
        held: int,
        paid: int = 0,
        most: int | None = None,
        extend: Callable[[int], Funding],
        lesson_of: Callable[[str], Lesson],
        learn: Callable[[CallSample], None],
    ) -> None:
        self._catalogue = catalogue
        self._user_id = user_id
        self._held = held
        self._paid = paid
        self._most = most
        self._extend = extend
        self._lesson_of = lesson_of
        self._learn = learn
        self._prompt_chars = 0
        self._base = 0
        self._price = 0.0
        self._lesson = NOTHING_LEARNED
        self._input_tokens = self._allowed = 0
        self._chars = self._pieces = 0
        self._tokens = 0.0
        self._is_refused = False
        #: The cost limit leaves this call fewer tokens than the request does.
        self.is_narrowed = False

    @property
    def used(self) -> float:
        """What the turn has cost so far, as far as that is known: micro-dollars."""
        return self._paid + self._base + self._text_tokens * self._price

    @property
    def _text_tokens(self) -> float:
        # A piece of a stream is a token at least, whatever was learned of other texts.
        return max(self._tokens, self._pieces)

    def estimate(self) -> Usage:
        """Return what the call has used, where the provider does not say; nothing without text."""
        if not self._pieces:
            return Usage()
        output = min(math.ceil(self._text_tokens), self._allowed)
        return Usage(input_tokens=self._input_tokens, output_tokens=output)

    @property
    def is_out(self) -> bool:
        """Say whether the text goes beyond what is held, and no more was to be had."""
        return self._is_refused and self.used > self._held

    def begin_call(self, model: Model, messages: Sequence[Message], max_tokens: int) -> int:
        """Make sure that a call is covered as far as its first step, and return its token limit.

        Raises:
            CostLimitReached: the turn's own limit does not cover the prompt and one token.
            BudgetGone, BudgetHeld: the budgets do not cover it, or not now.
        """
        lesson = self._lesson_of(model.id)
        self._prompt_chars = sum(len(message.content) for message in messages)
        tokens_in = self._input_tokens = lesson.input_tokens(self._prompt_chars)
        prompt = self._catalogue.cost_micros(model, Usage(input_tokens=tokens_in))
        price = model.output_usd
        allowed = self._within_limit(prompt, price, lesson.hidden_tokens, max_tokens)
        self._base = prompt + round(lesson.hidden_tokens * price)
        self._lesson, self._price, self._allowed = lesson, price, allowed
        self._clear()
        self._is_refused = False
        self._require(self._paid + self._base + round(min(STEP_TOKENS, allowed) * price))
        return allowed

    def _within_limit(self, prompt: int, price: float, hidden: int, max_tokens: int) -> int:
        """Return how many output tokens the turn's own limit allows."""
        self.is_narrowed = False
        if self._most is None:
            return max_tokens
        left = self._most - self._paid - prompt
        allowed = int(left / price) if price > 0 else max_tokens
        if left < 0 or allowed <= hidden:
            raise CostLimitReached
        self.is_narrowed = allowed < max_tokens
        return min(max_tokens, allowed)

    def _require(self, wanted: int) -> None:
        wanted = self._bounded(wanted)
        if wanted <= self._held:
            return
        match self._extend(wanted):
            case Funding.HELD:
                self._held = wanted
            case Funding.BUSY:
                raise BudgetHeld
            case Funding.GONE:
                raise BudgetGone

    def _bounded(self, wanted: int) -> int:
        return wanted if self._most is None else min(wanted, self._most)

    def take(self, text: str) -> None:
        """Count a piece of the answer."""
        self._chars += len(text)
        self._pieces += 1
        self._tokens += self._lesson.tokens_of_text(text)

    def _clear(self) -> None:
        self._chars = self._pieces = 0
        self._tokens = 0.0

    def wanted(self) -> int | None:
        """Return what is to be held in all with the text so far; None where enough is."""
        if self.used + _MARGIN_TOKENS * self._price <= self._held:
            return None
        step = round(STEP_TOKENS * self._price)
        wanted = self._bounded(self._held + max(step, round(self.used) - self._held))
        return wanted if wanted > self._held else None

    def was_held(self, wanted: int) -> None:
        """Note that so much is held now."""
        self._held = max(self._held, wanted)
        self._is_refused = False

    def was_refused(self) -> None:
        """Note that no more could be held; the text goes on as far as it is covered."""
        self._is_refused = True

    def end_call(self, model: Model, cost_micros: int, end: StreamEnd | None) -> None:
        """Put a call on the account with what it cost, and learn from it.

        Args:
            end: of a call that was not broken off, else None.
        """
        self._paid += cost_micros
        if end is not None and end.usage is not None:
            usage = end.usage
            sample = CallSample(
                user_id=self._user_id,
                model=model.id,
                prompt_chars=self._prompt_chars,
                input_tokens=usage.input_tokens,
                text_chars=self._chars,
                text_tokens=max(0, usage.output_tokens - end.hidden_tokens),
                hidden_tokens=end.hidden_tokens,
            )
            self._learn(sample)
        self._base = 0
        self._clear()
