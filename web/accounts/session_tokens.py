"""The tokens of sessions: the first ones, the next ones, and those that are not taken any more."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from flask import request

from core.errors import CoordinatorUnavailable
from core.timing import iso_time
from storage.accounts.sessions import Origin
from web.accounts.tokens import LEEWAY_S
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.sessions import RefreshGrant
    from storage.accounts.users import User

#: What is kept of a request's `User-Agent` and of its address.
_MAX_AGENT_CHARS: Final = 200
_MAX_ADDRESS_CHARS: Final = 64


def void_family(user_id: str, family_id: str) -> None:
    """Refuse every access token of the session from now on; raises CoordinatorUnavailable."""
    services = current_services()
    services.revoked_tokens.add(
        user_id, family_id, ttl_s=services.settings.access_token_s + LEEWAY_S
    )


def end_beyond_limit(user_id: str) -> None:
    """End what is too many; after the newest has begun, so that logins at once see one another."""
    families = current_services().refresh_families
    ended = families.beyond_limit(user_id)
    families.revoke(*ended)
    # Without Redis no access token is taken anyway; these run out within minutes.
    with suppress(CoordinatorUnavailable):
        for family_id in ended:
            void_family(user_id, family_id)


def begin_session(user: User) -> dict[str, Any]:
    """Return the tokens of a new session."""
    return to_tokens(user, current_services().refresh_families.open(user.id, current_origin()))


def current_origin() -> Origin:
    """Return where this request came from, bounded and without control characters."""
    agent, address = request.user_agent.string, request.remote_addr or ""
    return Origin(_printable(agent, _MAX_AGENT_CHARS), _printable(address, _MAX_ADDRESS_CHARS))


def _printable(text: str, max_chars: int) -> str:
    return "".join(filter(str.isprintable, text))[:max_chars]


def to_tokens(user: User, grant: RefreshGrant) -> dict[str, Any]:
    """Return the tokens of the grant's session."""
    services = current_services()
    return {
        "access_token": services.tokens.issue_access(grant, user.token_version),
        "refresh_token": services.tokens.issue_refresh(grant, user.token_version),
        "token_type": "Bearer",
        "expires_in": services.settings.access_token_s,
        "user": to_public(user),
    }


def to_public(user: User) -> dict[str, Any]:
    """Return the account as its owner and administrators see it."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "plan": user.plan.name,
        "role": user.role,
        "created_at": iso_time(user.created_ms),
        "trial_ends_at": iso_time(user.trial_ends_ms),
    }
