"""What the scripts that take jobs in answer to what does not fit, as errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from core.budgets import Budget, Scope, Window
from core.errors import AetherError, Draining, IdempotencyConflict
from core.limit_errors import BudgetBusy, BudgetExhausted, RateLimitExceeded, TooManyJobs
from core.money import to_usd
from core.plans import Plan
from core.timing import iso_time, now_ms

_WHOSE: Final[dict[Scope, str]] = {
    "user": "your plan's budget of this month",
    "key": "this API key's budget of this month",
    "month": "this deployment's budget of this month",
    "day": "this deployment's budget of today",
}
#: Where reservations hold what is left, one of them ends soon most likely.
_BUSY_S: Final = 2
_WINDOW_WORDS: Final = {
    "requests_per_minute": "{limit} requests in a minute",
    "requests_per_day": "{limit} requests in a day",
    "tokens_per_day": "{limit} tokens in a day",
    "bytes_per_hour": "{limit} bytes of questions and kept answers in an hour",
}


def with_left(windows: Sequence[Window], left: Sequence[int]) -> list[Window]:
    """Return the windows with what a script says is left of each."""
    return [replace(window, left=max(0, n)) for window, n in zip(windows, left, strict=True)]


def refusal_of(
    answer: bytes, rest: Sequence[Any], plan: Plan, budgets: Sequence[Budget], at_ms: int
) -> AetherError:
    """Return the error that a script's answer stands for.

    Args:
        rest: what follows the answer's first word.
        at_ms: when the job was submitted, Unix milliseconds; its budgets are those of that month.
    """
    match answer:
        case b"conflict":
            return IdempotencyConflict()
        case b"draining":
            return Draining()
        case b"too_many":
            return TooManyJobs(
                f"{plan.unfinished} of your model calls are unfinished or would be, more than the "
                f"plan {plan.name} allows; wait for a job to end.",
                limit="unfinished",
            )
        case b"limited":
            return _limited(*rest)
        case b"budget_busy":
            return _busy(budgets[rest[0] - 1])
        case _:
            return _exhausted(budgets[rest[0] - 1], at_ms)


def _limited(name: bytes, limit: bytes, reset_ms: int) -> RateLimitExceeded:
    words = _WINDOW_WORDS[name.decode()].format(limit=f"{int(limit):,}")
    retry_after_s = max(1, -(-reset_ms // 1000))
    return RateLimitExceeded(
        f"You may submit {words}; try again in {retry_after_s} seconds.",
        limit=name.decode(),
        retry_after_s=retry_after_s,
        resets_at=iso_time(now_ms() + reset_ms),
    )


def _busy(budget: Budget) -> BudgetBusy:
    return BudgetBusy(
        f"Your unfinished jobs hold what is left of {_WHOSE[budget.scope]} "
        f"(${to_usd(budget.limit_micros):g}); try again when one has ended.",
        limit=_name_of(budget),
        retry_after_s=_BUSY_S,
    )


def _exhausted(budget: Budget, at_ms: int) -> BudgetExhausted:
    ends = end_of_budget(budget.scope, at_ms)
    return BudgetExhausted(
        f"What is left of {_WHOSE[budget.scope]} (${to_usd(budget.limit_micros):g}) does not "
        f"cover this job; the next budget begins at {iso_time(ends)}.",
        limit=_name_of(budget),
        retry_after_s=max(1, -(-(ends - now_ms()) // 1000)),
        resets_at=iso_time(ends),
    )


def _name_of(budget: Budget) -> str:
    return {
        "user": "monthly_budget",
        "key": "key_monthly_budget",
        "month": "deployment_monthly_budget",
        "day": "deployment_daily_budget",
    }[budget.scope]


def end_of_budget(scope: Scope, at_ms: int) -> int:
    """Return when the month or day (UTC) of a budget ends in which `at_ms` lies, Unix ms."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if scope == "day":
        end = midnight + timedelta(days=1)
    else:
        end = (midnight.replace(day=28) + timedelta(days=4)).replace(day=1)
    return round(end.timestamp() * 1000)
