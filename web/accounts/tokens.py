"""JSON Web Tokens: issue them, and read the valid ones."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import jwt
import msgspec
from cachetools import TTLCache
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from msgspec import Meta, Struct

from core.errors import Unauthenticated

if TYPE_CHECKING:
    from flask import Flask

    from core.settings import Settings
    from storage.accounts.sessions import RefreshGrant

ISSUER: Final = "aether"
AUDIENCE: Final = "aether-api"
ALGORITHM: Final = "HS256"
_REQUIRED: Final = frozenset(
    {"iss", "aud", "sub", "exp", "nbf", "iat", "jti", "type", "fam", "ver"}
)
#: How far the clocks of two API hosts may be apart, in seconds.
LEEWAY_S: Final = 5
#: Checking a signature takes 0.1 ms; a token that was valid a moment ago is looked up instead.
_CACHED_TOKENS: Final = 4_096
_CACHE_S: Final = 60.0

Kind = Literal["access", "refresh"]


class Claims(Struct, frozen=True):
    """The claims of a valid token: `exp` in Unix seconds, `fam` the session, `ver` the version."""

    sub: Annotated[str, Meta(pattern="^usr_[0-9a-f]{32}$")]
    fam: str
    jti: str
    ver: int
    exp: int
    type: Kind


def key_id(secret: str) -> str:
    """Return what a token's header calls the secret that signed it; the secret cannot be told."""
    return hmac.new(secret.encode(), b"aether key id", hashlib.sha256).hexdigest()[:16]


class Tokens:
    """Issues and reads tokens; needs an application context of the configured app.

    Tokens are signed with the secret, and read when it or the previous one signed them: while an
    operator replaces the secret, hosts with the one and with the other read each other's tokens.
    """

    def __init__(self, app: Flask, settings: Settings) -> None:
        """Configure the app's tokens.

        Raises:
            ValueError: the setting `jwt_secret` is empty.
        """
        secret = settings.jwt_secret.get_secret_value()
        if not secret:
            raise ValueError("AETHER_JWT_SECRET is empty; set it to at least 32 random characters")
        self._previous = settings.jwt_secret_previous.get_secret_value()
        self._secrets = {key_id(known): known for known in (secret, self._previous) if known}
        self._configure(app, settings)
        manager = JWTManager(app)
        header = {"kid": key_id(secret)}
        manager.additional_headers_loader(lambda _identity: dict(header))
        # The library accepts a token without `exp` or `type`; this is its only hook before that.
        manager.decode_key_loader(self._find_secret)
        self._cache: TTLCache[str, Claims] = TTLCache(_CACHED_TOKENS, _CACHE_S)
        self._cache_lock = threading.Lock()

    def _configure(self, app: Flask, settings: Settings) -> None:
        app.config.update(
            JWT_SECRET_KEY=settings.jwt_secret.get_secret_value(),
            JWT_ALGORITHM=ALGORITHM,
            JWT_DECODE_ALGORITHMS=[ALGORITHM],
            JWT_ENCODE_ISSUER=ISSUER,
            JWT_DECODE_ISSUER=ISSUER,
            JWT_ENCODE_AUDIENCE=AUDIENCE,
            JWT_DECODE_AUDIENCE=AUDIENCE,
            JWT_DECODE_LEEWAY=LEEWAY_S,
            # Tokens travel in a header only.
            JWT_COOKIE_CSRF_PROTECT=False,
            JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=settings.access_token_s),
            JWT_REFRESH_TOKEN_EXPIRES=timedelta(seconds=settings.refresh_token_s),
        )

    def _find_secret(self, headers: dict[str, Any], claims: dict[str, Any]) -> str:
        """Return the secret that a token says it was signed with; the first one if it says none."""
        if not claims.keys() >= _REQUIRED:
            raise Unauthenticated
        secret = self._secrets.get(headers.get("kid", next(iter(self._secrets))))
        if secret is None:
            raise Unauthenticated
        return secret

    def issue_access(self, grant: RefreshGrant, version: int) -> str:
        """Return an access token of the grant's session."""
        claims = {"fam": grant.family_id, "ver": version}
        return str(create_access_token(grant.user_id, additional_claims=claims))

    def issue_refresh(self, grant: RefreshGrant, version: int) -> str:
        """Return the refresh token that carries the grant."""
        claims = {"fam": grant.family_id, "ver": version, "jti": grant.token_id}
        return str(create_refresh_token(grant.user_id, additional_claims=claims))

    def read_access(self, token: str) -> Claims:
        """Return the claims of a valid access token; whether it is revoked is not checked here.

        Raises:
            Unauthenticated: the token is anything else; the reason is not given.
        """
        with self._cache_lock:
            claims: Claims | None = self._cache.get(token)
        if claims is None:
            claims = self._read(token, "access")
            with self._cache_lock:
                self._cache[token] = claims
        elif claims.exp + LEEWAY_S <= time.time():
            raise Unauthenticated
        return claims

    def read_refresh(self, token: str) -> Claims:
        """Return the claims of a valid refresh token; whether it was used is not checked here.

        Raises:
            Unauthenticated: the token is anything else.
        """
        return self._read(token, "refresh")

    def _read(self, token: str, kind: Kind) -> Claims:
        try:
            claims = msgspec.convert(self._decode(token), Claims)
        except (jwt.PyJWTError, JWTExtendedException, msgspec.ValidationError) as error:
            raise Unauthenticated from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            # A forged token's JSON can raise these before its signature is checked.
            raise Unauthenticated from error
        if claims.type != kind:
            raise Unauthenticated
        return claims

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            return decode_token(token)
        except jwt.InvalidSignatureError:
            if not self._previous or "kid" in jwt.get_unverified_header(token):
                raise
        # Signed before tokens named their secret: until the last of them has expired.
        return jwt.decode(
            token,
            self._previous,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY_S,
            options={"require": sorted(_REQUIRED)},
        )
