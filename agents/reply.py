"""What one agent returned, and who is told while it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from core.models import Model, Tier
from core.outcome import AgentReport, Draft


class Reply(Struct, frozen=True, kw_only=True):
    """What one agent returned; `text` may be partial unless the report says completed.

    Attributes:
        report: with this turn's usage only, failed calls and drafts included.
        cascade: of a cascade, why it ended with this reply; None where there was none.
        retry_in_s: the job is worth another try that much later; None when the reply is final.
        awaited_model: the model whose budget the next try waits for in line, for `retry_in_s`.
    """

    text: str
    finish_reason: str
    report: AgentReport
    cascade: str | None = None
    retry_in_s: float | None = None
    awaited_model: str | None = None


class Listener(Struct, frozen=True):
    """Functions that are called while a reply is made.

    Attributes:
        on_text: the next piece of text.
        on_restart: the text so far is void; the argument says why.
        on_route: this tier and model are asked from here on; why, and the id of the model replaced.
    """

    on_text: Callable[[str], None]
    on_restart: Callable[[str], None]
    on_route: Callable[[Tier, Model, str, str], None]


SILENT: Final = Listener(lambda _: None, lambda _: None, lambda *_: None)


def as_first_text(draft: Reply) -> Reply:
    """Return a draft that was published whole, so its first text came with its last."""
    timing = draft.report.timing_ms
    report = replace(draft.report, timing_ms={**timing, "first_token": timing["total"]})
    return replace(draft, report=report, cascade="the quick answer passed its checks")


def behind_draft(reply: Reply, draft: AgentReport, fault: str) -> Reply:
    """Return the stronger reply with the draft's use and time in its account."""
    own, draft_ms = reply.report, draft.timing_ms["total"] or 0
    first_ms = own.timing_ms["first_token"]
    report = replace(
        own,
        usage=own.usage + draft.usage,
        cost_micros=own.cost_micros + draft.cost_micros,
        timing_ms={
            "first_token": None if first_ms is None else first_ms + draft_ms,
            "total": (own.timing_ms["total"] or 0) + draft_ms,
        },
        drafts=(Draft(model=draft.model, usage=draft.usage, cost_micros=draft.cost_micros),),
    )
    return replace(reply, report=report, cascade=fault)
