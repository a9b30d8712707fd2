"""How a turn can end."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from core.chat import StreamEnd
from core.model_errors import BudgetGone, CostLimitReached, ModelError
from core.outcome import CANCELLED, CUT_BY_TOKENS, OUT_OF_TIME, JobError
from core.stop import StopReason

Status = Literal["completed", "failed", "cancelled", "incomplete"]
#: Finish reasons of turns that no other model can help.
ENDED_EARLY: Final = ("cancelled", "deadline", "budget")


class Ending(Struct, frozen=True):
    status: Status
    finish_reason: str
    error: JobError | None = None
    retry_in_s: float | None = None
    awaited_model: str | None = None


def ended(end: StreamEnd, *, is_narrowed: bool) -> Ending:
    if end.finish_reason == "length":
        if is_narrowed:
            return out_of_money(CostLimitReached())
        error = JobError(CUT_BY_TOKENS, "The answer reached its token limit.")
        return Ending("incomplete", "length", error)
    return Ending("completed", end.finish_reason)


def failed(
    error: ModelError, *, retry_in_s: float | None = None, awaited_model: str | None = None
) -> Ending:
    job_error = JobError(error.code, error.message)
    return Ending("failed", "error", job_error, retry_in_s, awaited_model)


def stopped(reason: StopReason | None) -> Ending:
    if reason is StopReason.CANCELLED:
        return Ending("cancelled", "cancelled", CANCELLED)
    if reason is StopReason.BUDGET:
        return out_of_money(BudgetGone())
    return Ending("incomplete", "deadline", OUT_OF_TIME)


def out_of_money(error: BudgetGone | CostLimitReached) -> Ending:
    """Return the end of a turn that its money does not cover, with what exists."""
    return Ending("incomplete", "budget", JobError(error.code, error.message))
