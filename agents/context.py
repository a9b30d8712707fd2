"""The messages of a request: the persona's prompt, then the conversation, then the new message.

The order is from what changes least to what changes most, so that the provider's prompt cache can
serve the common beginning of requests.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.chat import Message
from core.models import estimate_tokens
from core.personas import Persona


def build_messages(
    persona: Persona, history: Sequence[Message], message: str, *, budget_tokens: int
) -> tuple[Message, ...]:
    """Return a request's messages, with as many of the latest exchanges as the budget holds.

    Args:
        history: whole exchanges, each a user's message and the assistant's answer, oldest first.
        budget_tokens: for all messages; the persona's prompt and `message` are always included.
    """
    left_tokens = budget_tokens - estimate_tokens(persona.prompt) - estimate_tokens(message)
    return (
        *system_message(persona),
        *latest_exchanges(history, left_tokens),
        Message("user", message),
    )


def system_message(persona: Persona) -> tuple[Message, ...]:
    """Return the persona's prompt as a message; none for a model that wants none."""
    return (Message("system", persona.prompt),) if persona.prompt else ()


def latest_exchanges(history: Sequence[Message], budget_tokens: int) -> Sequence[Message]:
    """Return the latest exchanges of the history that fit into the budget."""
    left_tokens = budget_tokens
    start = len(history)
    while start >= 2:
        exchange_tokens = sum(estimate_tokens(m.content) for m in history[start - 2 : start])
        if exchange_tokens > left_tokens:
            break
        left_tokens -= exchange_tokens
        start -= 2
    return history[start:]
