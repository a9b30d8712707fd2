"""The routes that set an account's password: by the current one, or by an operator's link."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask import g
from pydantic import SecretStr

from core.account_errors import InvalidResetToken, NoPassword, WrongPassword
from core.errors import CoordinatorUnavailable, InvalidRequest, ServiceUnavailable, StoreUnavailable
from core.limit_errors import TooManyTries
from web.accounts import schemas
from web.accounts.auth import current_caller, require_user
from web.accounts.passwords import normalised, problem_of
from web.accounts.session_tokens import begin_session, current_origin, to_tokens, void_family
from web.accounts.throttles import count_failed_login, require_login_tries
from web.http.openapi import PUBLIC, returns, routes
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.audit import Act

password_api = routes("password", __name__, "The account's password.", prefix="/api/auth/password")
password_api.before_request(require_user)
reset_api = routes(
    "reset", __name__, "A new password for who forgot it.", prefix="/api/auth/reset-password"
)


@password_api.post(
    "",
    **returns(
        {200: (schemas.Session, "The password is changed; new tokens of the same session.")},
        WrongPassword,
        NoPassword,
        TooManyTries,
        ServiceUnavailable,
    ),
)
def change_password(body: schemas.PasswordRequest) -> Any:
    """Change the account's password; this session goes on with new tokens, all others end."""
    caller, services = current_caller(), current_services()
    former = services.password_changes.hash_of(caller.user.id)
    if former is None:
        raise NoPassword
    email = caller.user.email or ""
    # A stolen session is not to guess faster than a login.
    require_login_tries(email)
    if not services.passwords.verify_typed(former, body.current_password.get_secret_value()):
        count_failed_login(email)
        raise WrongPassword
    renewed = _hash(body.new_password, email)
    _log("password.set", caller.user.id)
    user = services.password_changes.change(caller.user.id, former, renewed)
    _end_sessions(user.id, but=caller.claims.fam)
    grant = services.refresh_families.renew(user.id, caller.claims.fam, current_origin())
    return to_tokens(user, grant) if grant else begin_session(user)


@reset_api.post(
    "",
    security=PUBLIC,
    **returns(
        {204: (None, "The password is set; every session of the account has ended.")},
        InvalidResetToken,
        ServiceUnavailable,
        StoreUnavailable,
    ),
)
def reset_password(body: schemas.ResetRequest) -> Any:
    """Set a new password by the token of an operator's link, and end every session."""
    set_by_link(body.token, body.new_password)
    return "", 204


def set_by_link(token: SecretStr, new_password: SecretStr) -> None:
    """Set a new password by the token of a link, and end every session of the account.

    Raises:
        InvalidResetToken: the token is unknown, used, replaced or expired.
        InvalidRequest: the password is the account's address.
        ServiceUnavailable, StoreUnavailable: too many passwords are hashed; MongoDB is away.
    """
    services = current_services()
    target = services.password_changes.find_reset(token.get_secret_value())
    password_hash = _hash(new_password, target.email)
    _log("password.reset", target.user_id)
    services.password_changes.reset(target, token.get_secret_value(), password_hash)
    _end_sessions(target.user_id)


def _hash(password: SecretStr, email: str) -> str:
    plain = normalised(password.get_secret_value())
    if problem := problem_of(plain, email):
        raise InvalidRequest(f"`new_password` {problem}.", field="new_password")
    return current_services().passwords.hash(plain)


def _log(act: Act, user_id: str) -> None:
    current_services().audit.add(
        act, user_id, actor=user_id, before="", after="", request_id=g.request_id
    )


def _end_sessions(user_id: str, *, but: str | None = None) -> None:
    """End the account's sessions whose tokens a new password has made void already.

    Where Redis or MongoDB fails meanwhile, other processes see that within ten seconds, and nobody
    is told that the password, which is set, was not.
    """
    families = current_services().refresh_families
    with suppress(CoordinatorUnavailable, StoreUnavailable):
        ended = [family_id for family_id in families.of(user_id) if family_id != but]
        for family_id in ended:
            void_family(user_id, family_id)
        families.revoke(*ended)
