"""What was learned of a model's answers: how long they are, how many tokens characters come to."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

#: Below so many calls what was learned says little.
_ENOUGH_CALLS: Final = 8
#: Of a model of which nothing is known.
_FIRST_GUESS_TOKENS: Final = 400
_FIRST_GUESS_PER_CHAR: Final = 1 / 3.5
#: No tokenizer gives more tokens than UTF-8 has bytes, nor one for a whole paragraph.
_LEAST_PER_CHAR, _MOST_PER_CHAR = 0.05, 4.0


class CallSample(Struct, frozen=True, kw_only=True):
    """One call that ended by itself, with the provider's own usage.

    Attributes:
        hidden_tokens: of the output, those that no text came of.
    """

    user_id: str
    model: str
    prompt_chars: int
    input_tokens: int
    text_chars: int
    text_tokens: int
    hidden_tokens: int = 0


class Lesson(Struct, frozen=True, kw_only=True):
    """What calls of one model came to, of one user or of all.

    Attributes:
        text_tokens: the median of the tokens of an answer's text.
        hidden_tokens: the 95th percentile of output tokens beside the text.
        calls: how many it rests on; old ones count for less.
        input_per_char, text_per_char: tokens per character of prompts and of texts.
    """

    text_tokens: int = _FIRST_GUESS_TOKENS
    hidden_tokens: int = 0
    calls: int = 0
    input_per_char: float = _FIRST_GUESS_PER_CHAR
    text_per_char: float = _FIRST_GUESS_PER_CHAR

    @property
    def is_enough(self) -> bool:
        return self.calls >= _ENOUGH_CALLS

    @property
    def output_tokens(self) -> int:
        """What an answer most likely comes to, hidden tokens included."""
        return self.text_tokens + self.hidden_tokens

    def input_tokens(self, chars: int) -> int:
        """Return what a prompt of so many characters comes to."""
        return math.ceil(chars * self.input_per_char)

    def tokens_of_text(self, text: str) -> float:
        """Return what a piece of an answer comes to; before anything was learned, by its bytes.

        A Chinese character has three of them and is about one token.
        """
        if not self.is_enough:
            return len(text.encode(errors="replace")) * _FIRST_GUESS_PER_CHAR
        return len(text) * self.text_per_char


NOTHING_LEARNED: Final = Lesson()


def to_lesson(summary: bytes | None) -> Lesson:
    """Read what `storage/lua/learn.lua` keeps; too few calls teach nothing."""
    if summary is None:
        return NOTHING_LEARNED
    text, hidden, calls, per_prompt, per_text = map(int, summary.split())
    if calls < _ENOUGH_CALLS:
        return NOTHING_LEARNED
    return Lesson(
        text_tokens=text,
        hidden_tokens=hidden,
        calls=calls,
        input_per_char=_plausible(per_prompt / 1000),
        text_per_char=_plausible(per_text / 1000),
    )


def _plausible(per_char: float) -> float:
    return min(max(per_char, _LEAST_PER_CHAR), _MOST_PER_CHAR)
