"""Accounts and sessions: who asks, and with what right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from flask import g, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from msgspec import Struct
from pydantic import ValidationError

from core.errors import DemoDisabled, Unauthenticated
from core.timing import iso_time
from web.accounts.schemas import (
    DemoRequest,
    LoginRequest,
    LogoutRequest,
    RefreshRequest,
    RegisterRequest,
)
from web.http.errors import to_invalid_request
from web.http.openapi import PUBLIC
from web.http.schemas import Body
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.sessions import RefreshGrant
    from storage.accounts.users import User
    from web.accounts.tokens import Claims

BodyModel = TypeVar("BodyModel", bound=Body)

auth_api = APIBlueprint("auth", __name__, url_prefix="/api/auth", abp_tags=[Tag(name="auth")])


class Session(Struct, frozen=True):
    """Who sent this request, and the token that says so."""

    user: User
    claims: Claims


def current_user() -> User:
    """Return the user whose access token came with this request.

    Raises:
        Unauthenticated: there is no good token, it is revoked, or its account is gone.
        CoordinatorUnavailable, StoreUnavailable: that could not be found out.
    """
    return _current_session().user


def require_user() -> None:
    """Refuse a request without a good token before anything of it is looked at."""
    current_user()


def _current_session() -> Session:
    session: Session | None = g.get("session")
    if session is None:
        session = g.session = _authenticate(request.headers.get("Authorization", ""))
    return session


def _authenticate(authorization: str) -> Session:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated
    services = current_services()
    claims = services.tokens.read_access(token.strip())
    if services.revoked_tokens.contains_any(claims.sub, claims.jti, claims.fam):
        raise Unauthenticated
    return Session(_find_user(claims), claims)


def _find_user(claims: Claims) -> User:
    user = current_services().accounts.get(claims.sub)
    if user is None or user.token_version != claims.ver:
        raise Unauthenticated
    return user


@auth_api.post("/register", security=PUBLIC)
def register(body: RegisterRequest) -> Any:
    """Make an account, on trial, and begin a session."""
    services = current_services()
    password_hash = services.passwords.hash(body.password.get_secret_value())
    user = services.accounts.create(body.email, password_hash, body.name)
    return _begin_session(user), 201


@auth_api.post("/login", security=PUBLIC)
def login(body: LoginRequest) -> Any:
    """Begin a session; a wrong address and a wrong password look and take the same."""
    services = current_services()
    password = body.password.get_secret_value()
    credentials = services.accounts.find_by_email(body.email)
    password_hash = credentials.password_hash if credentials else None
    if not services.passwords.verify(password_hash, password) or credentials is None:
        raise Unauthenticated("The e-mail address or the password is wrong.")
    if services.passwords.needs_rehash(credentials.password_hash):
        renewed = services.passwords.hash(password)
        services.accounts.set_password_hash(credentials.user.id, renewed)
    return _begin_session(credentials.user)


@auth_api.post("/demo-login", security=PUBLIC)
def demo_login() -> Any:
    """Begin a session of a fresh trial account; no body is needed."""
    services = current_services()
    if not services.settings.demo_login:
        raise DemoDisabled
    _optional_body(DemoRequest)
    return _begin_session(services.accounts.create_trial())


@auth_api.post("/refresh", security=PUBLIC)
def refresh(body: RefreshRequest) -> Any:
    """Trade a refresh token for new tokens; presenting a used one ends the session."""
    services = current_services()
    claims = services.tokens.read_refresh(body.refresh_token.get_secret_value())
    grant = services.refresh_families.rotate(claims.fam, claims.jti)
    if grant is None:
        _void_family(claims.sub, claims.fam)
        raise Unauthenticated
    return _to_tokens(_find_user(claims), grant)


@auth_api.post("/logout")
def logout() -> Any:
    """End this session at once, or with `everywhere` every session of the account."""
    body, session, services = _optional_body(LogoutRequest), _current_session(), current_services()
    user_id, claims = session.user.id, session.claims
    families = {claims.fam}
    if body.everywhere:
        families.update(services.refresh_families.revoke_all(user_id))
        services.accounts.raise_token_version(user_id)
    services.refresh_families.revoke(claims.fam)
    for family_id in families:
        _void_family(user_id, family_id)
    services.revoked_tokens.add(user_id, claims.jti, ttl_s=_left_s(claims))
    return "", 204


@auth_api.get("/me")
def me() -> Any:
    """The account behind the token."""
    return _to_public(current_user())


def _optional_body(model: type[BodyModel]) -> BodyModel:
    try:
        return model.model_validate(request.get_json() if request.get_data() else {})
    except ValidationError as error:
        raise to_invalid_request(error) from None


def _void_family(user_id: str, family_id: str) -> None:
    services = current_services()
    services.revoked_tokens.add(user_id, family_id, ttl_s=services.settings.access_token_s)


def _left_s(claims: Claims) -> int:
    return claims.exp - int(time.time())


def _begin_session(user: User) -> dict[str, Any]:
    return _to_tokens(user, current_services().refresh_families.open(user.id))


def _to_tokens(user: User, grant: RefreshGrant) -> dict[str, Any]:
    services = current_services()
    return {
        "access_token": services.tokens.issue_access(grant, user.token_version),
        "refresh_token": services.tokens.issue_refresh(grant, user.token_version),
        "token_type": "Bearer",
        "expires_in": services.settings.access_token_s,
        "user": _to_public(user),
    }


def _to_public(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "plan": user.plan.name,
        "created_at": iso_time(user.created_ms),
        "trial_ends_at": iso_time(user.trial_ends_ms),
    }
