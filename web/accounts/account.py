"""The routes by which a user takes out what is held about him, and deletes his account."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from flask import Response, g
from pydantic import Field, SecretStr

from core.account_errors import WrongPassword
from core.errors import (
    CoordinatorUnavailable,
    InvalidRequest,
    ServiceUnavailable,
    StoreUnavailable,
    TooManyWaiting,
)
from core.limit_errors import TooManyStreams, TooManyTries
from web.accounts.auth import current_user, require_user
from web.accounts.export import MEDIA_TYPE, export_of
from web.accounts.throttles import count_failed_login, require_login_tries
from web.accounts.tokens import LEEWAY_S
from web.http.openapi import returns, routes
from web.http.schemas import RequestBody, ResponseBody
from web.services import current_services

account_api = routes("account", __name__, "All of an account's data.", prefix="/api/account")
account_api.before_request(require_user)

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Disposition": 'attachment; filename="aether-account.ndjson"',
    # A reverse proxy passes each line on as it comes.
    "X-Accel-Buffering": "no",
}


class ExportLine(ResponseBody):
    """One thing that is held about the account."""

    type: str
    """`account`, `session`, `api_key`, `comparison`, `set_aside`, `ledger`, `audit`, `job`,
    `event`, `conversation`; `end` on the last line, without which the export is not complete."""
    data: dict[str, Any]


class DeletionRequest(RequestBody):
    """Who deletes an account shows once more that it is his."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=512)] | None = None
    """The account's; a demo account has none."""
    confirm: bool = False
    """`true` in place of the password of a demo account."""


class AccountDeletion(ResponseBody):
    """An account that is being deleted."""

    object: Literal["account.deletion"]
    id: str
    """The account's."""


@account_api.get(
    "/export",
    **returns(
        {200: (ExportLine, "The lines, one JSON object each.")},
        TooManyStreams,
        TooManyWaiting,
        StoreUnavailable,
        CoordinatorUnavailable,
        media_type=MEDIA_TYPE,
    ),
)
def export_account() -> Response:
    """Return all that is held about the account, as lines of JSON (NDJSON).

    Hashes and secrets are left out. What has ended within the last second may be missing. An
    export counts as one of the user's open streams.
    """
    user, services = current_user(), current_services()
    _audit("account.export")
    lines = export_of(services, user.id)
    leave = services.open_requests.enter(user.id)
    response = Response(lines, mimetype=MEDIA_TYPE, headers=_HEADERS)
    # Also for a client that goes before the last line.
    response.call_on_close(leave)
    return response


@account_api.delete(
    "",
    **returns(
        {202: (AccountDeletion, "Nobody can use the account any more; its data is being removed.")},
        WrongPassword,
        TooManyTries,
        ServiceUnavailable,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def delete_account(body: DeletionRequest) -> Any:
    """Delete the account with its jobs and everything else that is held about it, for good.

    Its sessions end at once, its unfinished jobs are cancelled, and its data is removed within
    minutes; only then can its e-mail address have another account.
    """
    user, services = current_user(), current_services()
    _require_owner(body)
    _audit("account.delete")
    for family_id in services.refresh_families.revoke_all(user.id):
        ttl_s = services.settings.access_token_s + LEEWAY_S
        services.revoked_tokens.add(user.id, family_id, ttl_s=ttl_s)
    services.deletions.begin(user.id)
    services.accounts.forget(user.id)
    return {"object": "account.deletion", "id": user.id}, 202


def _require_owner(body: DeletionRequest) -> None:
    """Refuse who does not know the password, or does not confirm for an account without one."""
    user, services = current_user(), current_services()
    if user.email is None:
        if not body.confirm:
            raise InvalidRequest("`confirm` must be true: the account is lost.", field="confirm")
        return
    if body.password is None:
        raise InvalidRequest("`password` is required.", field="password")
    # A stolen session is not to guess faster than a login.
    require_login_tries(user.email)
    password_hash = services.password_changes.hash_of(user.id)
    typed = body.password.get_secret_value()
    if password_hash is None or not services.passwords.verify_typed(password_hash, typed):
        count_failed_login(user.email)
        raise WrongPassword


def _audit(act: Literal["account.export", "account.delete"]) -> None:
    user_id = current_user().id
    current_services().audit.add(
        act, user_id, actor=user_id, before="", after="", request_id=g.request_id
    )
