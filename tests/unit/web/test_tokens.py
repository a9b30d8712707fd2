"""Tokens that were good a moment ago."""

from __future__ import annotations

import time

import pytest

from core.errors import Unauthenticated
from core.ids import new_user_id
from storage.accounts.sessions import RefreshGrant
from web.services import EXTENSION


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
