"""What one agent alone, an agent of a team and a synthesis have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agents.answer import Listener, Turn
from core import events
from core.chat import Message
from core.events import NewEvent

if TYPE_CHECKING:
    from core.models import Model
    from storage.jobs.attempts import Claim
    from workers.event_writer import JobEvents
    from workers.worker import Runtime


def listener(
    pen: JobEvents,
    about: dict[str, Any],
    turn: Turn,
    *,
    also: Callable[[NewEvent], None] | None = None,
) -> Listener:
    """Return who tells the job's readers what one speaker says, and of its new beginnings.

    Args:
        about: which speaker, in every event but the text's; empty where there is but one.
        also: hears the text and the new beginnings, too.
    """

    def on_text(text: str) -> None:
        pen.add_text(text)
        if also is not None:
            also(NewEvent(events.ANSWER_DELTA, {"agent": turn.agent, "text": text}))

    def on_restart(reason: str) -> None:
        again = NewEvent(
            events.JOB_RETRYING, about | {"attempt": pen.claim.attempt, "reason": reason}
        )
        pen.tell(again)
        if also is not None:
            also(again)

    def on_fallback(model: Model, reason: str) -> None:
        another = {"tier": turn.tier, "model": model.id, "reason": f"fallback: {reason}"}
        pen.tell(NewEvent(events.ROUTE_SELECTED, about | another))

    return Listener(on_text, on_restart, on_fallback)


def history_of(runtime: Runtime, claim: Claim) -> list[Message]:
    """Return the conversation so far, oldest first."""
    return [
        message
        for turn in runtime.attempts.conversation(claim.spec)
        for message in (Message("user", turn.message), Message("assistant", turn.answer))
    ]


def now_ms() -> int:
    """Return the time, Unix milliseconds."""
    return int(time.time() * 1000)
