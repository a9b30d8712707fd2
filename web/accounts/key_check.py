"""The check of a request's API key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import StoreUnavailable, Unauthenticated
from storage.accounts.api_keys import issued_s
from web.accounts.scopes import require_scope

if TYPE_CHECKING:
    from storage.accounts.api_keys import ApiKey
    from storage.accounts.users import User
    from web.services import WebServices


def check_key(services: WebServices, text: str, endpoint: str | None) -> tuple[User, ApiKey]:
    """Return whose key the text is, and the key.

    Raises:
        Unauthenticated: it is unknown, revoked or expired, or its account is gone.
        SessionRequired, MissingScope: it was not made for this route.
    """
    key = services.api_keys.check(text)
    user = services.accounts.get(key.user_id) if key is not None else None
    if key is None or user is None or _is_revoked(services, key):
        raise Unauthenticated
    require_scope(endpoint, key.scopes)
    services.api_keys.note_use(key)
    return user, key


def has_lost_key(services: WebServices, key: ApiKey) -> bool:
    """Say whether the key is void by now, or its account gone."""
    is_gone = services.accounts.get(key.user_id) is None
    return is_gone or key.has_expired() or _is_revoked(services, key)


def _is_revoked(services: WebServices, key: ApiKey) -> bool:
    """Say whether the key was revoked, also a moment ago by another process."""
    revoked = services.revoked_tokens.contains_any(key.user_id, key.id, issued_s=issued_s())
    try:
        return revoked or (revoked is None and not services.api_keys.exists(key))
    except StoreUnavailable:
        # Both have lost what they knew: whoever had access goes on, as with sessions.
        return False
