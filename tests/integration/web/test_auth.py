"""Accounts and sessions over HTTP, on real servers."""

from __future__ import annotations

import time

import pytest
from argon2 import PasswordHasher

from core.loops import LoopHealth
from core.settings import Settings
from storage.loop_reports import LoopReports
from tests.integration.web.forgery import KINDS, forge
from tests.services import wait_until
from web.accounts.auth import session_check
from web.app import create_app
from web.services import EXTENSION

ANN = {"email": "ann@example.com", "password": "correct horse"}
OPERATORS = [{"$ne": None}, {"$gt": ""}, {"$regex": ".*"}, ["a"], 1, True]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def begin(client):
    return client.post("/api/auth/demo-login").json


def me(client, token):
    return client.get("/api/auth/me", headers=bearer(token))


def refresh(client, token):
    return client.post("/api/auth/refresh", json={"refresh_token": token})


def assert_unauthenticated(response):
    assert response.status_code == 401
    assert response.json["code"] == "unauthenticated"
    assert response.json["detail"] == "The token is missing, not valid or expired; log in again."
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="aether"'


def test_session_begins_when_an_account_is_made(client, settings):
    response = client.post("/api/auth/register", json=ANN | {"name": "Ann"})

    session = response.json
    assert response.status_code == 201
    assert session["token_type"] == "Bearer"
    assert session["expires_in"] == settings.access_token_s
    assert session["user"]["email"] == "ann@example.com"
    assert session["user"]["name"] == "Ann"
    assert session["user"]["plan"] == "trial"
    assert session["user"]["trial_ends_at"] > session["user"]["created_at"]
    assert me(client, session["access_token"]).json == session["user"]


def test_account_is_not_made_when_the_address_is_taken(client):
    client.post("/api/auth/register", json=ANN)

    response = client.post("/api/auth/register", json=ANN | {"email": "ANN@example.com"})

    assert (response.status_code, response.json["code"]) == (409, "account_exists")


def test_session_begins_when_the_password_is_right(client):
    user = client.post("/api/auth/register", json=ANN).json["user"]

    response = client.post("/api/auth/login", json=ANN)

    assert response.status_code == 200
    assert response.json["user"] == user


def test_answers_are_alike_when_the_address_or_the_password_is_wrong(client):
    client.post("/api/auth/register", json=ANN)

    wrong = client.post("/api/auth/login", json=ANN | {"password": "wrong horse"})
    unknown = client.post("/api/auth/login", json=ANN | {"email": "bob@example.com"})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json | {"request_id": ""} == unknown.json | {"request_id": ""}


def test_hash_is_renewed_when_it_was_made_with_other_parameters(client, mongo_database):
    client.post("/api/auth/register", json=ANN)
    users = mongo_database["users"]
    weaker = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(ANN["password"])
    users.update_one({"email": ANN["email"]}, {"$set": {"password_hash": weaker}})

    response = client.post("/api/auth/login", json=ANN)

    assert response.status_code == 200
    assert "m=19456,t=2,p=1" in users.find_one({"email": ANN["email"]})["password_hash"]


@pytest.mark.parametrize("options", [{}, {"json": {}}], ids=["no body", "an empty object"])
def test_fresh_trial_user_comes_when_a_demo_is_asked_for(client, options):
    first = client.post("/api/auth/demo-login", **options)
    second = client.post("/api/auth/demo-login", **options)

    assert first.status_code == second.status_code == 200
    assert first.json["user"]["plan"] == "trial"
    assert first.json["user"]["id"] != second.json["user"]["id"]
    assert me(client, first.json["access_token"]).status_code == 200


def test_no_demo_is_given_when_the_deployment_has_none(settings):
    app = create_app(Settings(**settings.model_dump() | {"demo_login": False}))

    response = app.test_client().post("/api/auth/demo-login")

    app.extensions[EXTENSION].close()
    assert (response.status_code, response.json["code"]) == (403, "demo_disabled")


def test_tokens_are_new_when_a_session_is_refreshed(client):
    first = begin(client)

    second = refresh(client, first["refresh_token"]).json

    assert second["user"] == first["user"]
    assert second["refresh_token"] != first["refresh_token"]
    assert me(client, second["access_token"]).status_code == 200
    assert refresh(client, second["refresh_token"]).status_code == 200


def test_whole_session_ends_when_a_refresh_token_is_used_twice(client):
    first = begin(client)
    second = refresh(client, first["refresh_token"]).json

    assert_unauthenticated(refresh(client, first["refresh_token"]))

    assert_unauthenticated(refresh(client, second["refresh_token"]))
    assert_unauthenticated(me(client, first["access_token"]))
    assert_unauthenticated(me(client, second["access_token"]))


def test_session_is_over_at_once_when_the_user_logs_out(client):
    session, other = begin(client), begin(client)

    response = client.post("/api/auth/logout", headers=bearer(session["access_token"]))

    assert response.status_code == 204
    assert_unauthenticated(me(client, session["access_token"]))
    assert_unauthenticated(refresh(client, session["refresh_token"]))
    assert me(client, other["access_token"]).status_code == 200


def test_session_is_over_in_every_process_when_the_user_logs_out(client, settings):
    session, other_process = begin(client), create_app(settings)
    other = other_process.test_client()
    assert me(other, session["access_token"]).status_code == 200

    client.post("/api/auth/logout", headers=bearer(session["access_token"]))

    assert_unauthenticated(me(other, session["access_token"]))
    other_process.extensions[EXTENSION].close()


def test_every_session_is_over_when_the_user_logs_out_everywhere(client):
    first = client.post("/api/auth/register", json=ANN).json
    second = client.post("/api/auth/login", json=ANN).json

    client.post(
        "/api/auth/logout", json={"everywhere": True}, headers=bearer(first["access_token"])
    )

    for session in (first, second):
        assert_unauthenticated(me(client, session["access_token"]))
        assert_unauthenticated(refresh(client, session["refresh_token"]))
    assert client.post("/api/auth/login", json=ANN).status_code == 200


def test_session_stays_over_when_redis_has_lost_what_was_revoked(client, redis_client):
    session = begin(client)
    client.post("/api/auth/logout", headers=bearer(session["access_token"]))

    redis_client.flushall()
    # The list begins anew a second later at the earliest, as after any real loss.
    issued_s = int(time.time())
    wait_until(lambda: time.time() >= issued_s + 1, 5, "the next second")

    assert_unauthenticated(me(client, session["access_token"]))
    assert_unauthenticated(refresh(client, session["refresh_token"]))


def test_open_session_goes_on_when_redis_has_lost_what_was_revoked(client, redis_client):
    session = begin(client)

    redis_client.flushall()

    assert [me(client, session["access_token"]).status_code for _ in range(2)] == [200, 200]


def test_token_is_refused_when_its_account_is_gone(client, app, settings, mongo_database):
    session = begin(client)
    mongo_database["users"].delete_many({})
    fresh_process = create_app(settings)

    response = me(fresh_process.test_client(), session["access_token"])

    fresh_process.extensions[EXTENSION].close()
    assert_unauthenticated(response)


def test_session_goes_on_when_the_secret_of_tokens_is_replaced(client, settings):
    session, replaced = begin(client), "b8Rr1LzQ4nXy6Tt0Wd3Kf9Hs5Mc2Vg7J"
    secrets = {"jwt_secret": replaced, "jwt_secret_previous": settings.jwt_secret}
    host = create_app(Settings(**settings.model_dump() | secrets))
    other = host.test_client()

    assert me(other, session["access_token"]).status_code == 200
    renewed = refresh(other, session["refresh_token"]).json

    assert me(other, renewed["access_token"]).status_code == 200
    # A host that has not been told of the new secret.
    assert_unauthenticated(me(client, renewed["access_token"]))
    host.extensions[EXTENSION].close()


@pytest.mark.parametrize("kind", KINDS)
def test_access_token_is_refused_when_it_is(client, settings, kind):
    good = begin(client)["access_token"]

    forged = forge(kind, good, settings.jwt_secret.get_secret_value())

    assert_unauthenticated(me(client, forged))
    assert me(client, good).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Token {}", "{}", "Bearer {} {}", "Bearer {}é"],
)
def test_access_token_is_refused_when_its_header_is_odd(client, header):
    token = begin(client)["access_token"]

    response = client.get("/api/auth/me", headers={"Authorization": header.replace("{}", token)})

    assert_unauthenticated(response)


def test_token_is_refused_when_it_is_anywhere_but_in_its_header(client):
    token = begin(client)["access_token"]
    client.set_cookie("access_token_cookie", token)

    assert_unauthenticated(client.get(f"/api/auth/me?jwt={token}"))


def test_token_is_refused_when_it_is_of_the_other_kind(client):
    session = begin(client)

    assert_unauthenticated(me(client, session["refresh_token"]))
    assert_unauthenticated(refresh(client, session["access_token"]))


@pytest.mark.parametrize("value", OPERATORS, ids=str)
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("register", "email"),
        ("register", "password"),
        ("register", "name"),
        ("login", "email"),
        ("login", "password"),
        ("refresh", "refresh_token"),
    ],
)
def test_text_is_asked_for_when_an_operator_is_sent(client, mongo_database, path, field, value):
    body = {"refresh_token": "x"} if path == "refresh" else dict(ANN)

    response = client.post(f"/api/auth/{path}", json=body | {field: value})

    assert response.status_code == 400
    assert (response.json["code"], response.json["field"]) == ("invalid_request", field)
    assert mongo_database["users"].count_documents({}) == 0


@pytest.mark.parametrize("extra", ["plan", "role", "token_version", "trial_ends_at", "$set", "_id"])
@pytest.mark.parametrize("path", ["register", "login", "refresh", "demo-login"])
def test_field_is_named_when_there_is_no_such(client, mongo_database, path, extra):
    body = {"register": ANN, "login": ANN, "refresh": {"refresh_token": "x"}}.get(path, {})

    response = client.post(f"/api/auth/{path}", json=body | {extra: "enterprise"})

    assert response.status_code == 400
    assert response.json["field"] == extra
    assert response.json["detail"] == f"`{extra}` is not a field of this request."
    assert mongo_database["users"].count_documents({}) == 0


def test_servers_are_named_when_all_of_them_answer(client, redis_client):
    response = client.get("/readyz")

    assert response.status_code == 200
    up = {"redis": "ok", "mongodb": "ok"}
    assert response.json == {
        "status": "ok",
        "dependencies": up,
        "stuck": [],
        "pending_migrations": [],
        "draining": False,
    }


def test_a_workers_thread_is_named_when_it_does_not_turn(client, redis_client):
    turning, stuck = LoopHealth("a", 0.1, 0, False), LoopHealth("event-writer", 12.4, 3, True)
    LoopReports(redis_client).write("worker-1@host", [turning, stuck])

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json["stuck"] == ["worker-1: event-writer stuck since 12 s"]


COMPOSED, DECOMPOSED = "caf\u00e9 au lait", "cafe\u0301 au lait"


@pytest.mark.parametrize(
    ("registered", "typed"),
    [
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        ("\ufb01rst horse", "first horse"),
        ("\uff50\uff41\uff53\uff53 horse 1", "pass horse 1"),
    ],
)
def test_password_is_right_however_its_characters_are_composed(client, registered, typed):
    client.post("/api/auth/register", json=ANN | {"password": registered})

    assert client.post("/api/auth/login", json=ANN | {"password": typed}).status_code == 200


def test_hash_of_what_was_typed_is_accepted_and_renewed(client, mongo_database):
    client.post("/api/auth/register", json=ANN)
    old = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(DECOMPOSED)
    mongo_database["users"].update_one({"email": ANN["email"]}, {"$set": {"password_hash": old}})

    logins = [
        client.post("/api/auth/login", json=ANN | {"password": typed}).status_code
        for typed in (DECOMPOSED, COMPOSED)
    ]

    assert logins == [200, 200]


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("e\u0301" * 7, "at least 8"),
        ("abcdefg\u0301\u00e9" * 40, "at most 128"),
        ("\ufdfa" * 20, "at most 128"),
    ],
)
def test_length_of_a_password_is_counted_normalised(client, password, reason):
    response = client.post("/api/auth/register", json=ANN | {"password": password})

    assert response.status_code == 400
    assert reason in response.json["detail"]


def test_session_is_over_for_streams_when_the_account_is_gone(app, client, mongo_database):
    token = begin(client)["access_token"]
    with app.test_request_context(headers=bearer(token)):
        is_over = session_check()
    assert not is_over()

    mongo_database["users"].delete_many({})
    app.extensions[EXTENSION].accounts._cache.clear()

    assert is_over()


def test_a_logout_is_remembered_for_as_long_as_a_slow_clock_takes_the_token(
    app, client, redis_client, settings
):
    session = begin(client)

    client.post("/api/auth/logout", headers=bearer(session["access_token"]))

    kept = [
        redis_client.ttl(name)
        for name in redis_client.scan_iter("aether:*:revoked:*")
        if not name.endswith(b":since")
    ]
    assert len(kept) == 2
    assert min(kept) > settings.access_token_s
