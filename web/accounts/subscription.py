"""The routes about an account's plan: what it allows, and the start of the one trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask import g

from core.account_errors import TrialUsed
from core.errors import CoordinatorUnavailable, StoreUnavailable
from core.money import to_usd
from core.timing import iso_time, now_ms
from web.accounts import schemas
from web.accounts.auth import current_user, require_user
from web.http.openapi import returns, routes
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.users import User

_LIMITS: Final = (
    *("running", "unfinished", "requests_per_minute", "requests_per_day", "tokens_per_day"),
    *("bytes_per_hour", "agents", "batch_lines", "max_tier"),
)

subscription_api = routes(
    "subscription", __name__, "The account's plan.", prefix="/api/subscription"
)
subscription_api.before_request(require_user)


@subscription_api.get(
    "",
    **returns(
        {200: (schemas.Subscription, "The plan, its limits and what is used of them.")},
        CoordinatorUnavailable,
    ),
)
def get_subscription() -> Any:
    """Return the account's plan, its limits and what is used of them."""
    return _to_public(current_user())


@subscription_api.post(
    "/trial",
    **returns(
        {200: (schemas.Subscription, "The trial runs.")},
        TrialUsed,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def start_trial(body: schemas.TrialRequest) -> Any:
    """Begin the account's one trial; while it runs a repeat changes nothing."""
    user, services = current_user(), current_services()
    if user.plan.name == "trial" and not user.has_trial_ended():
        return _to_public(user)
    if user.trial_ends_ms is not None:
        raise TrialUsed
    services.audit.add(
        "trial.start",
        user.id,
        actor=user.id,
        before=user.plan.name,
        after="trial",
        request_id=g.request_id,
    )
    return _to_public(services.accounts.start_trial(user.id))


def _to_public(user: User) -> dict[str, Any]:
    plan, services = user.plan, current_services()
    used = services.plan_uses.of(user.id)
    spent_micros = used.spent_micros
    if spent_micros is None:
        spent_micros = services.lost_jobs.spent_of(user.id, now_ms())
    return {
        "plan": plan.name,
        "status": _status(user),
        "trial_ends_at": iso_time(user.trial_ends_ms),
        "limits": {
            **{name: getattr(plan, name) for name in _LIMITS},
            "monthly_budget_usd": to_usd(plan.monthly_budget_micros),
        },
        "usage": {
            "unfinished": used.unfinished,
            "month_spent_usd": to_usd(spent_micros),
            "month_reserved_usd": to_usd(used.reserved_micros),
        },
    }


def _status(user: User) -> str:
    if user.has_trial_ended():
        return "trial_ended"
    return "trialing" if user.plan.name == "trial" else "active"
