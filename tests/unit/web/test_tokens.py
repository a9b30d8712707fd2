"""Tokens that were good a moment ago."""

from __future__ import annotations

import time

import jwt
import pytest
from flask import Flask

from core.errors import Unauthenticated
from core.ids import new_user_id
from core.settings import Settings
from storage.accounts.sessions import RefreshGrant
from tests.integration.web.forgery import sign
from web.accounts.tokens import Tokens
from web.services import EXTENSION

FORMER, CURRENT = "Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA", "b8Rr1LzQ4nXy6Tt0Wd3Kf9Hs5Mc2Vg7J"


@pytest.fixture
def tokens(app):
    with app.app_context():
        yield app.extensions[EXTENSION].tokens


@pytest.fixture
def grant():
    return RefreshGrant(new_user_id(), "f" * 32, "t" * 32)


def test_claims_are_what_was_issued_when_a_token_is_read(tokens, grant, settings):
    claims = tokens.read_access(tokens.issue_access(grant, version=3))

    assert (claims.sub, claims.fam, claims.ver) == (grant.user_id, grant.family_id, 3)
    assert abs(claims.exp - time.time() - settings.access_token_s) < 5


def test_refresh_token_carries_the_grant_when_it_is_read(tokens, grant):
    claims = tokens.read_refresh(tokens.issue_refresh(grant, version=0))

    assert (claims.sub, claims.fam, claims.jti) == (grant.user_id, grant.family_id, grant.token_id)


def test_token_is_refused_when_it_expires_after_it_was_accepted(tokens, grant, monkeypatch):
    token = tokens.issue_access(grant, version=0)
    expires_at = tokens.read_access(token).exp

    monkeypatch.setattr(time, "time", lambda: expires_at + 5)

    with pytest.raises(Unauthenticated):
        tokens.read_access(token)


def test_no_two_tokens_have_the_same_id_when_issued_at_once(tokens, grant):
    issued = [tokens.read_access(tokens.issue_access(grant, version=0)) for _ in range(10)]

    assert len({claims.jti for claims in issued}) == 10


def test_request_is_unavailable_when_nobody_knows_whether_its_token_is_revoked(
    tokens, grant, client
):
    token = tokens.issue_access(grant, version=0)

    response = client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})

    assert (response.status_code, response.json["code"]) == (503, "coordinator_unavailable")
    assert response.headers["Retry-After"] == "5"


@pytest.fixture
def host():
    """Return what makes the tokens of an API host with these secrets."""

    def host(secret, previous=""):
        app = Flask("host")
        context = app.app_context()
        contexts.append(context)
        context.push()
        return Tokens(app, Settings(jwt_secret=secret, jwt_secret_previous=previous))

    contexts = []
    yield host
    for context in reversed(contexts):
        context.pop()


def resigned(token, secret, **header):
    """Return the token's claims signed anew, with this header alone."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, secret, "HS256", headers=header)


def read_by(host, secrets, token):
    """Read a token by a host with these secrets; its application is the current one then."""
    return host(*secrets).read_access(token)


@pytest.mark.parametrize(
    ("signer", "reader"),
    [
        ((FORMER,), (FORMER, CURRENT)),
        ((FORMER, CURRENT), (FORMER,)),
        ((FORMER, CURRENT), (CURRENT, FORMER)),
        ((CURRENT, FORMER), (FORMER, CURRENT)),
        ((CURRENT, FORMER), (CURRENT,)),
    ],
    ids=["a told", "b told", "a replaced", "b replaced", "a forgot"],
)
def test_token_is_read_by_every_host_at_each_step_of_a_rotation(host, grant, signer, reader):
    issuer = host(*signer)
    access, refresh = issuer.issue_access(grant, 0), issuer.issue_refresh(grant, 0)

    other = host(*reader)

    assert other.read_access(access).sub == grant.user_id
    assert other.read_refresh(refresh).jti == grant.token_id


def test_token_is_refused_when_its_secret_was_forgotten(host, grant):
    token = host(FORMER).issue_access(grant, 0)

    with pytest.raises(Unauthenticated):
        read_by(host, (CURRENT,), token)
    with pytest.raises(Unauthenticated):
        read_by(host, (CURRENT, "another secret of 32 characters!!"), token)


@pytest.mark.parametrize("secret", [FORMER, CURRENT])
def test_token_of_before_secrets_were_named_is_read(host, grant, secret):
    token = resigned(host(secret).issue_access(grant, 0), secret)

    assert "kid" not in jwt.get_unverified_header(token)
    assert read_by(host, (CURRENT, FORMER), token).sub == grant.user_id


@pytest.mark.parametrize(
    "missing", ["exp", "iss", "aud", "jti", "type", "fam", "ver", "nbf", "iat"]
)
def test_token_of_the_previous_secret_is_refused_when_a_claim_is_missing(host, grant, missing):
    claims = jwt.decode(host(FORMER).issue_access(grant, 0), options={"verify_signature": False})
    token = jwt.encode({k: v for k, v in claims.items() if k != missing}, FORMER, "HS256")

    with pytest.raises(Unauthenticated):
        read_by(host, (CURRENT, FORMER), token)


@pytest.mark.parametrize("kid", ["", "unknown", FORMER, 1, ["a"], {"$ne": None}], ids=str)
def test_token_is_refused_when_it_names_no_secret_of_ours(host, grant, kid):
    issued = host(CURRENT).issue_access(grant, 0)
    claims = jwt.decode(issued, options={"verify_signature": False})
    named = sign({"alg": "HS256", "typ": "JWT", "kid": kid}, claims, CURRENT)

    with pytest.raises(Unauthenticated):
        read_by(host, (CURRENT, FORMER), named)


def test_token_is_refused_when_it_names_another_secret_than_signed_it(host, grant):
    named = jwt.get_unverified_header(host(CURRENT).issue_access(grant, 0))["kid"]
    token = resigned(host(FORMER).issue_access(grant, 0), FORMER, kid=named)

    with pytest.raises(Unauthenticated):
        read_by(host, (CURRENT, FORMER), token)


def test_name_of_a_secret_does_not_hold_it(host, grant):
    kid = jwt.get_unverified_header(host(CURRENT).issue_access(grant, 0))["kid"]

    assert len(kid) == 16
    assert kid not in CURRENT
