"""Which sessions an account has, and the end of some, over HTTP on real servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from storage.accounts import sessions as stored
from web.app import create_app
from web.services import EXTENSION

ANN = {"email": "ann@example.com", "password": "correct horse"}
STRANGER = "ses_" + "0" * 32


def bearer(session):
    return {"Authorization": f"Bearer {session['access_token']}"}


def is_open(client, session):
    return client.get("/api/auth/me", headers=bearer(session)).status_code == 200


def can_refresh(client, session):
    body = {"refresh_token": session["refresh_token"]}
    return client.post("/api/auth/refresh", json=body).status_code == 200


def sessions_of(client, session):
    return client.get("/api/auth/sessions", headers=bearer(session)).json["data"]


def id_of(client, session):
    return next(entry["id"] for entry in sessions_of(client, session) if entry["is_current"])


@pytest.fixture
def login(client):
    """Return what begins a session of one account."""
    client.post("/api/auth/register", json=ANN)

    def login(agent=None):
        headers = {} if agent is None else {"User-Agent": agent}
        return client.post("/api/auth/login", json=ANN, headers=headers).json

    return login


def test_sessions_are_listed_with_where_they_were_used(client, login):
    phone, desk = login("Phone/1.0"), login("Desk/2.0")

    found = sessions_of(client, phone)

    # The first is that of the registration.
    assert [entry["user_agent"] for entry in found][:2] == ["Desk/2.0", "Phone/1.0"]
    assert [entry["is_current"] for entry in found] == [False, True, False]
    assert {entry["address"] for entry in found} == {"127.0.0.1"}
    assert all(e["created_at"] == e["last_used_at"] < e["expires_at"] for e in found)
    assert desk["refresh_token"] not in str(found)


def test_last_use_moves_when_the_tokens_are_traded(client, login, mongo_database):
    session = login("Phone/1.0")
    past = datetime.now(UTC) - timedelta(hours=2)
    mongo_database["refresh_families"].update_many({}, {"$set": {"used_at": past}})

    client.post(
        "/api/auth/refresh",
        json={"refresh_token": session["refresh_token"]},
        headers={"User-Agent": "Phone/1.1"},
    )

    current = next(e for e in sessions_of(client, session) if e["is_current"])
    assert current["user_agent"] == "Phone/1.1"
    assert datetime.fromisoformat(current["last_used_at"]) > past + timedelta(hours=1)


def test_agent_is_bounded_and_cannot_steer_a_terminal(client, login):
    session = login("\x9b31m" + "x" * 5_000)

    current = next(e for e in sessions_of(client, session) if e["is_current"])

    assert current["user_agent"] == ("31m" + "x" * 5_000)[:200]


def test_session_of_before_uses_were_kept_is_listed(client, login, mongo_database):
    session = login()
    lost = {"used_at": "", "user_agent": "", "address": ""}
    mongo_database["refresh_families"].update_many({}, {"$unset": lost})

    entry = sessions_of(client, session)[0]

    assert entry["last_used_at"] == entry["created_at"]
    assert (entry["user_agent"], entry["address"]) == (None, None)


def test_expired_session_is_not_listed(client, login, mongo_database):
    session, expired = login(), login()
    past = datetime.now(UTC) - timedelta(seconds=1)
    mongo_database["refresh_families"].update_one(
        {"_id": id_of(client, expired).removeprefix("ses_")}, {"$set": {"expires_at": past}}
    )

    assert len(sessions_of(client, session)) == 2


def test_one_session_ends_at_once_in_every_process_when_it_is_deleted(client, login, settings):
    mine, lost = login(), login()
    other_process = create_app(settings)
    elsewhere = other_process.test_client()
    assert is_open(elsewhere, lost)

    ended = client.delete(f"/api/auth/sessions/{id_of(client, lost)}", headers=bearer(mine))

    assert ended.status_code == 204
    assert not is_open(client, lost)
    assert not is_open(elsewhere, lost)
    assert not can_refresh(client, lost)
    assert is_open(client, mine)
    other_process.extensions[EXTENSION].close()


def test_current_session_ends_when_it_is_deleted(client, login):
    session = login()

    ended = client.delete(f"/api/auth/sessions/{id_of(client, session)}", headers=bearer(session))

    assert ended.status_code == 204
    assert not is_open(client, session)


def test_all_other_sessions_end_when_all_are_deleted(client, login):
    mine, others = login(), [login(), login()]
    stranger = client.post("/api/auth/demo-login").json

    ended = client.delete("/api/auth/sessions", headers=bearer(mine))

    assert ended.status_code == 204
    assert [entry["is_current"] for entry in sessions_of(client, mine)] == [True]
    assert not any(is_open(client, other) or can_refresh(client, other) for other in others)
    assert is_open(client, stranger)
    assert can_refresh(client, mine)


def test_foreign_and_unknown_sessions_are_refused_alike(client, login):
    mine, stranger = login(), client.post("/api/auth/demo-login").json
    foreign = id_of(client, stranger)

    refusals = [
        client.delete(f"/api/auth/sessions/{session_id}", headers=bearer(mine))
        for session_id in (
            foreign,
            STRANGER,
            foreign.removeprefix("ses_"),
            "$ne",
            "ses_" + "g" * 32,
        )
    ]

    assert {(r.status_code, r.json["code"]) for r in refusals} == {(404, "session_not_found")}
    assert len({r.json["detail"] for r in refusals}) == 1
    assert is_open(client, stranger)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/api/auth/sessions"),
        ("delete", "/api/auth/sessions"),
        ("delete", f"/api/auth/sessions/{STRANGER}"),
    ],
)
def test_nothing_is_said_of_sessions_without_a_token(client, method, path):
    assert getattr(client, method)(path).status_code == 401


def test_session_that_is_unused_for_longest_ends_when_there_are_too_many(
    client, login, monkeypatch
):
    monkeypatch.setattr(stored, "MAX_SESSIONS", 2)
    old, used = login(), login()
    traded = client.post("/api/auth/refresh", json={"refresh_token": old["refresh_token"]}).json

    latest = login()

    assert not is_open(client, used)
    assert not can_refresh(client, used)
    assert is_open(client, traded)
    assert is_open(client, latest)
    assert len(sessions_of(client, latest)) == 2


def test_sessions_are_not_too_many_when_logins_come_at_once(app, client, login, monkeypatch):
    monkeypatch.setattr(stored, "MAX_SESSIONS", 2)

    def login_once(_):
        return app.test_client().post("/api/auth/login", json=ANN).json["user"]["id"]

    with ThreadPoolExecutor(4) as pool:
        (user_id,) = set(pool.map(login_once, range(6)))

    # Logins of the same millisecond may end one another.
    left = app.extensions[EXTENSION].refresh_families.of(user_id)
    assert 1 <= len(left) <= 2
