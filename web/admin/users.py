"""The routes by which administrators change accounts, and read who changed what."""

from __future__ import annotations

from typing import Any

from flask import g

from core.account_errors import UnknownPlan, UserNotFound
from core.errors import Forbidden, StoreUnavailable
from core.timing import iso_time
from web.accounts.auth import current_user, require_user
from web.accounts.schemas import User
from web.accounts.session_tokens import to_public
from web.admin import schemas
from web.http.openapi import returns, routes
from web.services import current_services

admin_api = routes("admin", __name__, "Accounts, for administrators only.", prefix="/api/admin")
admin_api.before_request(require_user)


@admin_api.before_request
def require_admin() -> None:
    """Refuse everybody else before body and parameters are read."""
    if current_user().role != "admin":
        raise Forbidden


@admin_api.put(
    "/users/<string:user_id>/plan",
    **returns(
        {200: (User, "The account with its new plan.")},
        Forbidden,
        UserNotFound,
        UnknownPlan,
        StoreUnavailable,
    ),
)
def set_plan(path: schemas.UserPath, body: schemas.PlanRequest) -> Any:
    """Give an account a plan; a trial begins anew and lasts 14 days."""
    services = current_services()
    user = services.accounts.get(path.user_id)
    if user is None:
        raise UserNotFound
    services.audit.add(
        "plan.set",
        user.id,
        actor=current_user().id,
        before=user.plan.name,
        after=body.plan,
        request_id=g.request_id,
    )
    return to_public(services.accounts.set_plan(user.id, body.plan))


@admin_api.get(
    "/audit",
    **returns({200: (schemas.AuditPage, "One page of the log.")}, Forbidden, StoreUnavailable),
)
def list_audit(query: schemas.AuditQuery) -> Any:
    """Return what was changed of accounts and by whom, the latest first."""
    entries = current_services().audit.list(
        limit=query.limit, before_id=query.cursor, user_id=query.user_id
    )
    return {
        "object": "list",
        "data": [
            {
                "id": entry.id,
                "at": iso_time(entry.at_ms),
                "actor": entry.actor,
                "act": entry.act,
                "user_id": entry.user_id,
                "before": entry.before,
                "after": entry.after,
                "request_id": entry.request_id or None,
            }
            for entry in entries
        ],
        "next_cursor": entries[-1].id if len(entries) == query.limit else None,
    }
