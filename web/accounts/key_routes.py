"""The routes about an account's API keys; a key itself may call none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import g

from core.account_errors import (
    ApiKeyNotFound,
    PlanNotAllowed,
    TooManyApiKeys,
    TrialEnded,
    UnknownPlan,
    UnknownScope,
)
from core.budgets import KeyLimits
from core.errors import CoordinatorUnavailable, ExpiryInPast, InvalidTime, StoreUnavailable
from core.money import to_usd
from core.plans import PLANS
from core.scopes import DEFAULT_SCOPES, SCOPES, Scope
from core.timing import iso_time, now_ms, unix_ms
from core.webhook_errors import WEBHOOK_ERRORS
from storage.accounts.api_keys import CACHE_WITHOUT_STORE_S, PREFIX, NewKey, rank_of
from web.accounts import key_schemas as schemas
from web.accounts.auth import current_user, require_user
from web.http.openapi import returns, routes
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.api_keys import ApiKey
    from storage.accounts.audit import Act
    from storage.accounts.users import User

keys_api = routes("keys", __name__, "API keys for programs.", prefix="/api/keys")
keys_api.before_request(require_user)


@keys_api.post(
    "",
    **returns(
        {201: (schemas.NewApiKey, "The key; its text is shown this once.")},
        UnknownScope,
        UnknownPlan,
        InvalidTime,
        ExpiryInPast,
        *WEBHOOK_ERRORS,
        PlanNotAllowed,
        TrialEnded,
        TooManyApiKeys,
        StoreUnavailable,
    ),
)
def create_key(body: schemas.KeyRequest) -> Any:
    """Make an API key; it may do less than its account, and never more."""
    user, services = current_user(), current_services()
    wanted = _to_new_key(user, body)
    _log("key.create", user, after=body.name)
    key, text = services.api_keys.create(user.id, wanted)
    return _to_public(key) | {"key": text}, 201


@keys_api.get(
    "", **returns({200: (schemas.ApiKeyList, "Every key, the latest first.")}, StoreUnavailable)
)
def list_keys() -> Any:
    """Return the account's API keys, without their secrets."""
    found = current_services().api_keys.list(current_user().id)
    return {"object": "list", "data": [_to_public(key) for key in found]}


@keys_api.delete(
    "/<string:key_id>",
    **returns(
        {204: (None, "The key is void.")}, ApiKeyNotFound, CoordinatorUnavailable, StoreUnavailable
    ),
)
def revoke_key(path: schemas.KeyPath) -> Any:
    """Make a key void at once, in every process."""
    user, services = current_user(), current_services()
    _log("key.revoke", user, before=path.key_id[:64])
    key = services.api_keys.revoke(user.id, path.key_id)
    services.revoked_tokens.add(user.id, key.id, ttl_s=CACHE_WITHOUT_STORE_S)
    return "", 204


def _to_new_key(user: User, body: schemas.KeyRequest) -> NewKey:
    plan = user.plan_in_force()
    if body.plan is not None and rank_of(PLANS[body.plan]) > rank_of(plan):
        raise PlanNotAllowed(f"`plan` must not be above the account's, which is {plan.name}.")
    expires_ms = unix_ms(body.expires_at) if body.expires_at is not None else None
    if expires_ms is not None and expires_ms <= now_ms():
        raise ExpiryInPast(field="expires_at")
    usd, webhook = body.monthly_budget_usd, body.webhook
    return NewKey(
        name=body.name,
        scopes=DEFAULT_SCOPES if body.scopes is None else _to_scopes(body.scopes),
        plan=body.plan,
        limits=KeyLimits(
            requests_per_minute=body.requests_per_minute,
            monthly_budget_micros=None if usd is None else max(1, int(usd * 1_000_000)),
        ),
        webhook=None if webhook is None else current_services().reachable.check_url(webhook),
        expires_ms=expires_ms,
    )


def _to_scopes(names: list[str]) -> tuple[Scope, ...]:
    scopes: tuple[Scope, ...] = tuple(scope for scope in SCOPES if scope in names)
    if unknown := sorted(set(names) - set(scopes)):
        known = ", ".join(SCOPES)
        raise UnknownScope(
            f"`scopes` must be of {known}; there is no {unknown[0]!r:.70}.", field="scopes"
        )
    return scopes


def _log(act: Act, user: User, *, before: str = "", after: str = "") -> None:
    current_services().audit.add(
        act, user.id, actor=user.id, before=before, after=after, request_id=g.request_id
    )


def _to_public(key: ApiKey) -> dict[str, Any]:
    budget = key.limits.monthly_budget_micros
    return {
        "id": key.id,
        "name": key.name,
        "hint": f"{PREFIX}{key.id.removeprefix('key_')}-…{key.hint}",
        "scopes": list(key.scopes),
        "plan": key.plan,
        "requests_per_minute": key.limits.requests_per_minute,
        "monthly_budget_usd": None if budget is None else to_usd(budget),
        "webhook": key.webhook,
        "created_at": iso_time(key.created_ms),
        "last_used_at": iso_time(key.used_ms),
        "expires_at": iso_time(key.expires_ms),
    }
