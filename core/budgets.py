"""Budgets that pay for a job, and moving windows that bound what is submitted.

A calendar month or day is one of UTC.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from core.plans import Plan

#: Whose money: a user's month, an API key's month, or the deployment's day or month.
Scope = Literal["user", "key", "day", "month"]
WindowName = Literal["requests_per_minute", "requests_per_day", "tokens_per_day", "bytes_per_hour"]
#: The length of each window in seconds; storage/lua/limits.lua counts them.
WINDOW_S: Final[dict[WindowName, int]] = {
    "requests_per_minute": 60,
    "requests_per_day": 24 * 3600,
    "tokens_per_day": 24 * 3600,
    "bytes_per_hour": 3600,
}


class Budget(Struct, frozen=True, array_like=True):
    """What one budget may pay in its month or day, in micro-dollars."""

    scope: Scope
    limit_micros: int


class KeyLimits(Struct, frozen=True, kw_only=True):
    """What an API key allows of what its account may; None leaves it to the plan.

    Attributes:
        monthly_budget_micros: per calendar month, in micro-dollars.
    """

    requests_per_minute: int | None = None
    monthly_budget_micros: int | None = None


class Window(Struct, frozen=True, kw_only=True):
    """A bound on what is taken in within a moving window.

    Attributes:
        key_id: of the API key whose bound it is; None for the account's.
        amount: what the request at hand adds; 0 where something else counts, like tokens.
        left: what may still be taken in; None where that was not asked.
    """

    name: WindowName
    limit: int
    amount: int = 0
    key_id: str | None = None
    left: int | None = None


def budgets_of(
    plan: Plan, key: KeyLimits, monthly_usd: float | None, daily_usd: float | None
) -> tuple[Budget, ...]:
    """Return what pays for a job of a user with this plan.

    Args:
        key: limits of the API key with which it is submitted.
        monthly_usd, daily_usd: what the deployment may pay; None for anything.
    """
    limits: dict[Scope, int | None] = {
        "user": plan.monthly_budget_micros,
        "key": key.monthly_budget_micros,
        "month": None if not monthly_usd else int(monthly_usd * 1_000_000),
        "day": None if not daily_usd else int(daily_usd * 1_000_000),
    }
    return tuple(Budget(scope, most) for scope, most in limits.items() if most is not None)


def windows_of(
    plan: Plan, size_bytes: int, key_id: str | None, key: KeyLimits, *, requests: int = 1
) -> list[Window]:
    """Return what bounds a job that stores `size_bytes` and counts as so many requests."""
    windows = [
        Window(name="requests_per_minute", limit=plan.requests_per_minute, amount=requests),
        Window(name="requests_per_day", limit=plan.requests_per_day, amount=requests),
        Window(name="tokens_per_day", limit=plan.tokens_per_day),
        Window(name="bytes_per_hour", limit=plan.bytes_per_hour, amount=size_bytes),
    ]
    if key_id is not None and key.requests_per_minute is not None:
        limit = key.requests_per_minute
        windows.append(
            Window(name="requests_per_minute", limit=limit, amount=requests, key_id=key_id)
        )
    return windows
