"""API keys over HTTP, on real servers: they do what they were made for, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.scopes import SCOPES
from tests.acceptance import AcceptingStore
from web.accounts.scopes import SCOPE_OF
from web.app import create_app
from web.services import EXTENSION

CHAT = "/api/ai/v4/chat/optimized"
QUESTION = {"message": "What is a queue?"}
FOREVER = "2099-01-01T00:00:00Z"


@pytest.fixture
def begin(client):
    """Return what makes an account and returns its headers and its id."""

    def begin():
        session = client.post("/api/auth/demo-login").json
        return bearer(session["access_token"]), session["user"]["id"]

    return begin


@pytest.fixture
def headers(begin):
    return begin()[0]


@pytest.fixture
def make(client, headers):
    """Return what makes a key of the user and returns its public form."""

    def make(**fields):
        answer = client.post("/api/keys", json={"name": "ci"} | fields, headers=headers)
        assert answer.status_code == 201, answer.json
        return answer.json

    return make


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def code_of(response):
    return response.status_code, response.json["code"]


def test_a_key_is_shown_once_and_works(client, make, headers, mongo_database):
    key = make(expires_at=FOREVER, monthly_budget_usd=2.5, requests_per_minute=5)

    accepted = client.post(CHAT, json=QUESTION, headers=bearer(key["key"]))
    (listed,) = client.get("/api/keys", headers=headers).json["data"]

    assert accepted.status_code == 202
    assert key["key"].startswith("ak-")
    assert listed == {name: value for name, value in key.items() if name != "key"} | {
        "last_used_at": listed["last_used_at"]
    }
    assert listed["last_used_at"] is not None
    assert listed["scopes"] == ["jobs:read", "jobs:write"]
    stored = repr(list(mongo_database["api_keys"].find({})))
    assert key["key"].rsplit("-", 1)[-1] not in stored


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_does_what_its_scopes_allow(client, make, scope):
    headers = bearer(make(scopes=[scope])["key"])
    job = "/api/ai/v4/jobs/job_" + "0" * 32
    asked = {
        "jobs:read": client.get(job, headers=headers),
        "jobs:write": client.delete(job, headers=headers),
        "account:read": client.get("/api/auth/me", headers=headers),
    }

    allowed = {name for name, answer in asked.items() if answer.status_code in (200, 404)}
    refused = {code_of(answer) for name, answer in asked.items() if name != scope}
    assert allowed == {scope}
    assert refused == {(403, "missing_scope")}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/keys"),
        ("GET", "/api/keys"),
        ("DELETE", "/api/keys/key_0"),
        ("GET", "/api/auth/sessions"),
        ("POST", "/api/auth/password"),
        ("POST", "/api/auth/logout"),
        ("POST", "/api/subscription/trial"),
        ("GET", "/api/admin/audit"),
    ],
)
def test_no_key_does_what_needs_a_session(client, make, method, path):
    key = make(scopes=list(SCOPES))

    refused = client.open(path, method=method, headers=bearer(key["key"]), json={})

    assert code_of(refused) == (403, "session_required")


def test_every_route_that_a_key_may_call_exists(app):
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}

    assert set(SCOPE_OF) <= endpoints


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: "ak-" + "0" * 16 + text[19:],
        lambda text: "ak-",
        lambda text: text + "\x00",
        lambda text: text.upper(),
    ],
)
def test_what_is_no_key_is_refused(client, make, spoil):
    text = spoil(make()["key"])

    assert code_of(client.post(CHAT, json=QUESTION, headers=bearer(text))) == (
        401,
        "unauthenticated",
    )


def test_a_revoked_key_is_void_at_once_in_every_process(client, make, headers, settings, request):
    key = make()
    other = create_app(settings)
    request.addfinalizer(other.extensions[EXTENSION].close)
    elsewhere = other.test_client()
    assert elsewhere.post(CHAT, json=QUESTION, headers=bearer(key["key"])).status_code == 202

    revoked = client.delete(f"/api/keys/{key['id']}", headers=headers)

    assert revoked.status_code == 204
    for each in (client, elsewhere):
        assert each.post(CHAT, json=QUESTION, headers=bearer(key["key"])).status_code == 401
    assert client.get("/api/keys", headers=headers).json["data"] == []
    assert code_of(client.delete(f"/api/keys/{key['id']}", headers=headers)) == (
        404,
        "api_key_not_found",
    )


def test_a_revoked_key_stays_void_when_redis_has_lost_everything(
    client, make, headers, redis_client
):
    key = make()
    client.delete(f"/api/keys/{key['id']}", headers=headers)
    redis_client.flushall()

    assert client.post(CHAT, json=QUESTION, headers=bearer(key["key"])).status_code == 401


def test_a_key_is_void_when_it_has_expired(client, make, mongo_database, app):
    key = make(expires_at=FOREVER)
    past = datetime.now(UTC) - timedelta(seconds=1)
    mongo_database["api_keys"].update_one({}, {"$set": {"expires_at": past}})
    app.extensions[EXTENSION].api_keys._cache.clear()

    assert client.post(CHAT, json=QUESTION, headers=bearer(key["key"])).status_code == 401


def test_nobody_sees_or_revokes_anothers_key(client, make, begin, headers):
    key = make()
    stranger, _ = begin()

    assert client.get("/api/keys", headers=stranger).json["data"] == []
    assert code_of(client.delete(f"/api/keys/{key['id']}", headers=stranger)) == (
        404,
        "api_key_not_found",
    )
    assert client.post(CHAT, json=QUESTION, headers=bearer(key["key"])).status_code == 202


def test_a_key_has_limits_of_its_own(client, make, headers):
    key = make(requests_per_minute=1)
    first = client.post(CHAT, json=QUESTION, headers=bearer(key["key"]))

    refused = client.post(CHAT, json=QUESTION, headers=bearer(key["key"]))

    assert '"key_requests_per_minute";r=0' in first.headers["RateLimit"]
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert client.post(CHAT, json=QUESTION, headers=headers).status_code == 202


def test_a_key_has_a_budget_of_its_own(client, make, headers, redis_client):
    key = make(monthly_budget_usd=0.000001)

    refused = client.post(CHAT, json=QUESTION | {"tier": "standard"}, headers=bearer(key["key"]))

    assert code_of(refused) == (429, "budget_exhausted")
    assert refused.json["limit"] == "key_monthly_budget"
    assert client.post(CHAT, json=QUESTION, headers=headers).status_code == 202


def test_a_keys_plan_bounds_its_tiers(client, begin, mongo_database, app):
    headers, user_id = begin()
    mongo_database["users"].update_one({"_id": user_id}, {"$set": {"plan": "pro"}})
    app.extensions[EXTENSION].accounts._cache.clear()
    key = client.post("/api/keys", json={"name": "k", "plan": "trial"}, headers=headers).json
    deep = QUESTION | {"tier": "deep"}

    refused = client.post(CHAT, json=deep, headers=bearer(key["key"]))

    assert code_of(refused) == (403, "tier_not_in_plan")
    assert client.post(CHAT, json=deep, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"scopes": ["jobs:read", "root"]}, 400, "unknown_scope"),
        ({"scopes": []}, 400, "invalid_request"),
        ({"scopes": "jobs:read"}, 400, "invalid_request"),
        ({"scopes": [{"$ne": 1}]}, 400, "invalid_request"),
        ({"plan": "gold"}, 400, "unknown_plan"),
        ({"plan": "enterprise"}, 403, "plan_not_allowed"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 400, "expiry_in_past"),
        ({"expires_at": "tomorrow"}, 400, "invalid_time"),
        ({"monthly_budget_usd": 0}, 400, "invalid_request"),
        ({"requests_per_minute": 0}, 400, "invalid_request"),
        ({"name": ""}, 400, "invalid_request"),
        ({"name": {"$gt": ""}}, 400, "invalid_request"),
        ({"user_id": "usr_1"}, 400, "invalid_request"),
    ],
)
def test_no_key_is_made_when_the_request_is_wrong(
    client, headers, mongo_database, fields, status, code
):
    refused = client.post("/api/keys", json={"name": "ci"} | fields, headers=headers)

    assert code_of(refused) == (status, code)
    assert mongo_database["api_keys"].count_documents({}) == 0


def test_an_account_has_at_most_fifty_keys(client, make, headers):
    for _ in range(50):
        make()

    refused = client.post("/api/keys", json={"name": "one more"}, headers=headers)

    assert code_of(refused) == (409, "too_many_api_keys")


def test_a_job_says_with_which_key_it_was_submitted(client, make, redis_client):
    key = make()
    job = client.post(CHAT, json=QUESTION, headers=bearer(key["key"])).json

    assert AcceptingStore(redis_client).get(job["id"]).spec.api_key_id == key["id"]
