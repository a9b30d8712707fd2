"""A cascade: the quick tier answers first, and a stronger one where that answer fails a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from agents.answer import Listener, Reply, Turn, TurnRunner
from agents.answer_checks import fault_of
from core.outcome import Draft, Spent
from core.stop import StopSignal

_SILENT: Final = Listener(lambda _: None, lambda _: None, lambda *_: None)
SERVED: Final = "the quick answer passed its checks"


class Cascade(Struct, frozen=True, kw_only=True):
    """A question, and the turns by which it may be answered."""

    question: str
    quick: Turn
    strong: Turn


class CascadeRunner:
    """Runs cascades over a runner of turns; safe to share between threads."""

    def __init__(self, turns: TurnRunner) -> None:
        self._turns = turns

    def run(
        self,
        cascade: Cascade,
        *,
        deadline: float,
        stop: StopSignal,
        listener: Listener,
        on_escalation: Callable[[str], None],
    ) -> tuple[Reply, str]:
        """Return the reply, which reports all calls, and in words how it came about.

        The listener gets a quick answer only after it has passed its checks.

        Args:
            on_escalation: called with the fault of the quick answer before the stronger model is.
        """
        draft = self._turns.run(cascade.quick, deadline=deadline, stop=stop, listener=_SILENT)
        if draft.retry_in_s is not None or draft.finish_reason in ("cancelled", "deadline"):
            how = "the job ended before a quick answer was accepted"
            return msgspec.structs.replace(draft, text=""), how
        fault = _fault_of(cascade.question, draft)
        if fault is None:
            listener.on_text(draft.text)
            return _whole_at_once(draft), SERVED
        on_escalation(fault)
        # The draft's report has what earlier attempts spent.
        strong = msgspec.structs.replace(cascade.strong, spent=Spent())
        reply = self._turns.run(strong, deadline=deadline, stop=stop, listener=listener)
        return _with_draft(reply, draft), fault


def _fault_of(question: str, draft: Reply) -> str | None:
    if draft.report.status == "failed":
        return "the quick model failed"
    return fault_of(question, draft.text, draft.finish_reason)


def _whole_at_once(draft: Reply) -> Reply:
    """Return an accepted draft, whose first token reaches readers with its last."""
    times = draft.report.timing_ms
    report = msgspec.structs.replace(
        draft.report, timing_ms={**times, "first_token": times["total"]}
    )
    return msgspec.structs.replace(draft, report=report)


def _with_draft(reply: Reply, draft: Reply) -> Reply:
    """Return the reply with the use, cost and time of a draft that was not served."""
    own, rejected = reply.report, draft.report
    draft_ms, first_ms = rejected.timing_ms["total"] or 0, own.timing_ms["first_token"]
    report = msgspec.structs.replace(
        own,
        usage=own.usage + rejected.usage,
        cost_micros=own.cost_micros + rejected.cost_micros,
        timing_ms={
            "first_token": None if first_ms is None else first_ms + draft_ms,
            "total": (own.timing_ms["total"] or 0) + draft_ms,
        },
        drafts=(
            Draft(model=rejected.model, usage=rejected.usage, cost_micros=rejected.cost_micros),
        ),
    )
    return msgspec.structs.replace(reply, report=report)
