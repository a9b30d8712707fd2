"""A cascade: cheap answers first, and the stronger model where they do not hold.

Nobody reads a cheap answer before it is accepted. All calls are on the account of the one reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from agents.answer import Listener, Reply, Turn, TurnRunner
from agents.comparing import agree, fault_of, wants_short
from core.outcome import AgentReport, Draft, Spent
from core.stop import StopSignal

_SILENT: Final = Listener(lambda _: None, lambda _: None, lambda *_: None)
#: A second opinion at a lower temperature would only repeat the first.
_LEAST_TEMPERATURE: Final = 0.7
SERVED: Final = "the quick answer passed its checks"
AGREED: Final = "two quick answers agree"


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
        """Return the reply and, in words, how it came about.

        Args:
            on_escalation: told why the stronger model is asked, before it is.
        """

        def ask(turn: Turn, heard: Listener = _SILENT) -> Reply:
            return self._turns.run(turn, deadline=deadline, stop=stop, listener=heard)

        drafts = [ask(cascade.quick)]
        doubt = _doubt(cascade.question, drafts[0])
        verdict = SERVED
        if doubt is None and not _is_over(drafts[0]) and wants_short(cascade.question):
            drafts.append(ask(_second(cascade.quick)))
            verdict = AGREED
            doubt = _doubt(cascade.question, drafts[1])
            if doubt is None and not agree(drafts[0].text, drafts[1].text):
                doubt = "two quick answers differ"
        if _is_over(drafts[-1]):
            return _ended(drafts), "the job ended before a quick answer was accepted"
        if doubt is None:
            listener.on_text(drafts[0].text)
            return _served(drafts), verdict
        on_escalation(doubt)
        last = ask(msgspec.structs.replace(cascade.strong, spent=Spent()), listener)
        return _joined(last, drafts), doubt


def _second(quick: Turn) -> Turn:
    heat = quick.temperature
    if heat is not None:
        heat = max(heat, _LEAST_TEMPERATURE)
    return msgspec.structs.replace(quick, temperature=heat, spent=Spent())


def _is_over(reply: Reply) -> bool:
    """Say whether no other model can help: the job was stopped, or is to come back later."""
    return reply.retry_in_s is not None or reply.finish_reason in ("cancelled", "deadline")


def _doubt(question: str, draft: Reply) -> str | None:
    if draft.report.status == "failed":
        return "the quick model failed"
    return fault_of(question, draft.text, draft.finish_reason)


def _served(drafts: Sequence[Reply]) -> Reply:
    """Return the first draft as the reply, with all that was spent."""
    first, *others = drafts
    return _joined(first, others, is_first_text_last=True)


def _ended(drafts: Sequence[Reply]) -> Reply:
    """Return the last draft as the reply, without its text, which nobody has seen."""
    *others, last = drafts
    return msgspec.structs.replace(_joined(last, others), text="")


def _joined(reply: Reply, others: Sequence[Reply], *, is_first_text_last: bool = False) -> Reply:
    """Return the reply with the others on its account, as drafts that were not served."""
    own = reply.report
    total_ms = sum(other.report.timing_ms["total"] or 0 for other in others)
    first_ms = own.timing_ms["total" if is_first_text_last else "first_token"]
    report = msgspec.structs.replace(
        own,
        usage=sum((other.report.usage for other in others), own.usage),
        cost_micros=own.cost_micros + sum(other.report.cost_micros for other in others),
        timing_ms={
            "first_token": None if first_ms is None else first_ms + total_ms,
            "total": (own.timing_ms["total"] or 0) + total_ms,
        },
        drafts=tuple(_to_draft(other.report) for other in others),
    )
    return msgspec.structs.replace(reply, report=report)


def _to_draft(report: AgentReport) -> Draft:
    return Draft(model=report.model, usage=report.usage, cost_micros=report.cost_micros)
