"""The routes about an account's sessions: which there are, and the end of some."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from core.account_errors import SessionNotFound
from core.timing import iso_time
from web.accounts import schemas
from web.accounts.auth import current_caller, require_user
from web.accounts.session_tokens import void_family
from web.http.openapi import returns, routes
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.sessions import SessionRecord

sessions_api = routes("sessions", __name__, "The account's sessions.", prefix="/api/auth/sessions")
sessions_api.before_request(require_user)
#: A session's id holds its family's.
_ID: Final = re.compile(r"ses_([0-9a-f]{32})")


@sessions_api.get(
    "", **returns({200: (schemas.SessionList, "Every session, the latest used first.")})
)
def list_sessions() -> Any:
    """Return the account's sessions that go on, the latest used first; at most 100."""
    caller = current_caller()
    found = current_services().refresh_families.list(caller.user.id)
    return {
        "object": "list",
        "data": [_to_public(session, current=caller.claims.fam) for session in found],
    }


@sessions_api.delete(
    "/<string:session_id>",
    **returns({204: (None, "The session has ended.")}, SessionNotFound),
)
def end_session(path: schemas.SessionPath) -> Any:
    """End one session at once, with its access tokens; it may be the current one."""
    user_id, services = current_caller().user.id, current_services()
    found = _ID.fullmatch(path.session_id)
    if found is None or not services.refresh_families.belongs_to(user_id, found[1]):
        raise SessionNotFound
    _end(user_id, [found[1]])
    return "", 204


@sessions_api.delete("", **returns({204: (None, "The other sessions have ended.")}))
def end_other_sessions() -> Any:
    """End every session of the account but the current one at once."""
    caller = current_caller()
    families = current_services().refresh_families.of(caller.user.id)
    _end(caller.user.id, [family_id for family_id in families if family_id != caller.claims.fam])
    return "", 204


def _end(user_id: str, family_ids: list[str]) -> None:
    # In this order: a session whose access tokens live on cannot be found again to end it.
    for family_id in family_ids:
        void_family(user_id, family_id)
    current_services().refresh_families.revoke(*family_ids)


def _to_public(session: SessionRecord, *, current: str) -> dict[str, Any]:
    return {
        "id": f"ses_{session.family_id}",
        "created_at": iso_time(session.created_ms),
        "last_used_at": iso_time(session.used_ms),
        "expires_at": iso_time(session.expires_ms),
        "user_agent": session.origin.user_agent or None,
        "address": session.origin.address or None,
        "is_current": session.family_id == current,
    }
