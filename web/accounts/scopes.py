"""Which routes an API key may call, and with which scope; all others need a session."""

from __future__ import annotations

from typing import Final

from core.account_errors import MissingScope, SessionRequired
from core.scopes import Scope

#: By the route's blueprint and function.
SCOPE_OF: Final[dict[str, Scope]] = {
    "auth.me": "account:read",
    "subscription.get_subscription": "account:read",
    "chat.optimized": "jobs:write",
    "chat.quick": "jobs:write",
    "chat.multi_agent": "jobs:write",
    "chat.stream": "jobs:write",
    "jobs.list_jobs": "jobs:read",
    "jobs.get_job": "jobs:read",
    "jobs.stream_job": "jobs:read",
    "jobs.cancel_job": "jobs:write",
    "retry.retry_job": "jobs:write",
    "bulk.cancel_jobs": "jobs:write",
    "bulk.retry_jobs": "jobs:write",
    "bulk.list_actions": "jobs:read",
    "bulk.get_action": "jobs:read",
    "webhooks.list_deliveries": "jobs:read",
    "webhooks.get_delivery": "jobs:read",
    "webhooks.resend_delivery": "jobs:write",
    "analytics.get_own": "account:read",
    "conversations.create_conversation": "jobs:write",
    "conversations.list_conversations": "jobs:read",
    "conversations.get_conversation": "jobs:read",
    "conversations.rename_conversation": "jobs:write",
    "conversations.delete_conversation": "jobs:write",
    "conversations.list_messages": "jobs:read",
    "conversations.export_conversation": "jobs:read",
}


def require_scope(endpoint: str | None, scopes: tuple[Scope, ...]) -> None:
    """Refuse a key for what it was not made.

    Raises:
        SessionRequired: no key may call the route.
        MissingScope: another one may.
    """
    needed = SCOPE_OF.get(endpoint or "")
    if needed is None:
        raise SessionRequired
    if needed not in scopes:
        raise MissingScope(f"This API key lacks the scope `{needed}`.")
