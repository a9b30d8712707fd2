"""What a model is shown: the persona first, then the conversation, then the new message.

What changes least comes first, so that a provider's prompt cache can serve the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.chat import Message
from core.models import estimate_tokens
from core.personas import Persona


def build_messages(
    persona: Persona, history: Sequence[Message], message: str, *, budget_tokens: int
) -> tuple[Message, ...]:
    """Return the messages of a request, with as much of the latest history as the budget holds.

    Args:
        history: whole turns, each a user's message and the assistant's answer, oldest first.
        budget_tokens: for everything; persona and message are always in, whatever they take.
    """
    left_tokens = budget_tokens - estimate_tokens(persona.prompt) - estimate_tokens(message)
    return (
        Message("system", persona.prompt),
        *latest_turns(history, left_tokens),
        Message("user", message),
    )


def latest_turns(history: Sequence[Message], budget_tokens: int) -> Sequence[Message]:
    """Return the end of the history, in whole turns, that the budget holds."""
    left_tokens = budget_tokens
    start = len(history)
    while start >= 2:
        turn_tokens = sum(estimate_tokens(m.content) for m in history[start - 2 : start])
        if turn_tokens > left_tokens:
            break
        left_tokens -= turn_tokens
        start -= 2
    return history[start:]
