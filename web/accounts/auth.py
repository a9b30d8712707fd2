"""The routes about accounts and sessions, and the check of every request's access token."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import g, request
from msgspec import Struct

from core.account_errors import AccountExists, DemoDisabled, SessionRequired
from core.errors import (
    CoordinatorUnavailable,
    ServiceUnavailable,
    StoreUnavailable,
    Unauthenticated,
)
from core.limit_errors import TooManyTries
from storage.accounts.api_keys import PREFIX
from web.accounts import schemas
from web.accounts.key_check import check_key, has_lost_key
from web.accounts.passwords import normalised
from web.accounts.session_tokens import (
    begin_session,
    current_origin,
    end_beyond_limit,
    to_public,
    to_tokens,
    void_family,
)
from web.accounts.throttles import count_failed_login, count_sign_up, require_login_tries
from web.accounts.tokens import LEEWAY_S
from web.http.openapi import PUBLIC, returns, routes
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.api_keys import ApiKey
    from storage.accounts.users import User
    from web.accounts.tokens import Claims
    from web.services import WebServices

auth_api = routes("auth", __name__, "Accounts, sessions and their tokens.", prefix="/api/auth")


class Caller(Struct, frozen=True):
    """Who sent this request.

    Attributes:
        key: the API key that came with it; None where a session's token did.
    """

    user: User
    key: ApiKey | None = None
    session: Claims | None = None

    @property
    def claims(self) -> Claims:
        """The claims of the session's token.

        Raises:
            SessionRequired: an API key came in its place.
        """
        if self.session is None:
            raise SessionRequired
        return self.session


def current_user() -> User:
    """Return the user whose access token came with this request.

    Raises:
        Unauthenticated: the token is missing, invalid or revoked, or its account is gone.
        CoordinatorUnavailable, StoreUnavailable: Redis or MongoDB did not answer the check.
    """
    return current_caller().user


def require_user() -> None:
    """Refuse a request without a valid token before its body and parameters are read.

    OPTIONS only asks what an address allows.
    """
    if request.method != "OPTIONS":
        current_user()


def current_caller() -> Caller:
    """Return who sent this request, with the token's claims; raises as `current_user`."""
    caller: Caller | None = g.get("caller")
    if caller is None:
        caller = g.caller = _authenticate(request.headers.get("Authorization", ""))
    return caller


def _authenticate(authorization: str) -> Caller:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated
    services = current_services()
    if token.strip().startswith(PREFIX):
        return Caller(*check_key(services, token.strip(), request.endpoint))
    claims = services.tokens.read_access(token.strip())
    if _is_over(services, claims):
        raise Unauthenticated
    return Caller(_find_user(claims), session=claims)


def current_key() -> ApiKey | None:
    """Return the API key that came with this request; None where a session's token did."""
    return current_caller().key


def session_check() -> Callable[[], bool]:
    """Return what says, also after this request, whether its session, or its key, is over."""
    caller, services = current_caller(), current_services()
    if caller.key is not None:
        return partial(has_lost_key, services, caller.key)
    return partial(_has_lost_access, services, caller.claims)


def _has_lost_access(services: WebServices, claims: Claims) -> bool:
    """Say whether the session is over, its account gone, or every token of it void."""
    user = services.accounts.get(claims.sub)
    return user is None or user.token_version != claims.ver or _is_over(services, claims)


def _is_over(services: WebServices, claims: Claims) -> bool:
    issued_s = claims.exp - services.settings.access_token_s
    revoked = services.revoked_tokens.contains_any(
        claims.sub, claims.jti, claims.fam, issued_s=issued_s
    )
    if revoked:
        return True
    try:
        return revoked is None and not services.refresh_families.exists(claims.fam)
    except StoreUnavailable:
        # Both are away: who was logged in goes on, as always while MongoDB is away.
        return False


def _find_user(claims: Claims) -> User:
    user = current_services().accounts.get(claims.sub)
    if user is None or user.token_version != claims.ver:
        raise Unauthenticated
    return user


@auth_api.post(
    "/register",
    security=PUBLIC,
    **returns(
        {201: (schemas.Session, "The account exists; its session begins.")},
        AccountExists,
        TooManyTries,
        ServiceUnavailable,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def register(body: schemas.RegisterRequest) -> Any:
    """Create an account, on trial, and begin a session."""
    count_sign_up()
    services = current_services()
    password_hash = services.passwords.hash(normalised(body.password.get_secret_value()))
    user = services.accounts.create(body.email, password_hash, body.name)
    return begin_session(user), 201


@auth_api.post(
    "/login",
    security=PUBLIC,
    **returns(
        {200: (schemas.Session, "A new session.")},
        Unauthenticated,
        TooManyTries,
        ServiceUnavailable,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def login(body: schemas.LoginRequest) -> Any:
    """Begin a session; a refusal does not tell a wrong address from a wrong password."""
    require_login_tries(body.email)
    services = current_services()
    typed = body.password.get_secret_value()
    password = normalised(typed)
    credentials = services.accounts.find_by_email(body.email)
    password_hash = credentials.password_hash if credentials else None
    is_right = services.passwords.verify(password_hash, password)
    # Accounts of before have a hash of what was typed then.
    is_old = not is_right and typed != password and services.passwords.verify(password_hash, typed)
    if credentials is None or not (is_right or is_old):
        count_failed_login(body.email)
        raise Unauthenticated("The e-mail address or the password is wrong.")
    if is_old or services.passwords.needs_rehash(credentials.password_hash):
        renewed = services.passwords.hash(password)
        services.accounts.renew_password_hash(
            credentials.user.id, credentials.password_hash, renewed
        )
    session = begin_session(credentials.user)
    end_beyond_limit(credentials.user.id)
    return session


@auth_api.post(
    "/demo-login",
    security=PUBLIC,
    **returns(
        {200: (schemas.Session, "A session of a new account.")},
        DemoDisabled,
        TooManyTries,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def demo_login(body: schemas.DemoRequest) -> Any:
    """Begin a session of a new trial account; needs no body."""
    services = current_services()
    if not services.settings.demo_login:
        raise DemoDisabled
    count_sign_up()
    return begin_session(services.accounts.create_trial())


@auth_api.post(
    "/refresh",
    security=PUBLIC,
    **returns(
        {200: (schemas.Session, "New tokens of the same session.")},
        Unauthenticated,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def refresh(body: schemas.RefreshRequest) -> Any:
    """Trade a refresh token for new tokens; a token that is used twice ends its session."""
    services = current_services()
    claims = services.tokens.read_refresh(body.refresh_token.get_secret_value())
    grant = services.refresh_families.rotate(claims.fam, claims.jti, current_origin())
    if grant is None:
        void_family(claims.sub, claims.fam)
        raise Unauthenticated
    return to_tokens(_find_user(claims), grant)


@auth_api.post("/logout", **returns({204: (None, "The session has ended.")}))
def logout(body: schemas.LogoutRequest) -> Any:
    """End this session at once, or every session of the account."""
    caller, services = current_caller(), current_services()
    user_id, claims = caller.user.id, caller.claims
    families = {claims.fam}
    if body.everywhere:
        families.update(services.refresh_families.revoke_all(user_id))
        services.accounts.raise_token_version(user_id)
    services.refresh_families.revoke(claims.fam)
    for family_id in families:
        void_family(user_id, family_id)
    services.revoked_tokens.add(user_id, claims.jti, ttl_s=_left_s(claims))
    return "", 204


@auth_api.get("/me", **returns({200: (schemas.User, "The account.")}))
def me() -> Any:
    """Return the account of the token."""
    return to_public(current_user())


def _left_s(claims: Claims) -> int:
    """Return for how long the token would be taken: as long as a slow clock may take it."""
    return claims.exp + LEEWAY_S - int(time.time())
