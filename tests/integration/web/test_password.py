"""New passwords, by the current one and by an operator's link, over HTTP on real servers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher

from storage.accounts.password_changes import PasswordChanges
from storage.accounts.users import Accounts
from web.app import create_app
from web.services import EXTENSION

ANN = {"email": "ann@example.com", "password": "correct horse"}
NEW = "battery staple"
CHANGE = {"current_password": ANN["password"], "new_password": NEW}
LINK_PROBLEM = "This link does not work"


def bearer(session):
    return {"Authorization": f"Bearer {session['access_token']}"}


def is_open(client, session):
    return client.get("/api/auth/me", headers=bearer(session)).status_code == 200


def refresh(client, session):
    return client.post("/api/auth/refresh", json={"refresh_token": session["refresh_token"]})


def can_log_in(client, password):
    return client.post("/api/auth/login", json=ANN | {"password": password}).status_code == 200


def change(client, session, **fields):
    return client.post("/api/auth/password", json=CHANGE | fields, headers=bearer(session))


def acts(database):
    return [(entry["act"], entry["actor"]) for entry in database["audit"].find().sort("_id")]


@pytest.fixture
def session(client):
    return client.post("/api/auth/register", json=ANN).json


@pytest.fixture
def token(session, mongo_database):
    """The token of a link for a new password of the account."""
    return make_token(session, mongo_database)


def make_token(session, database):
    return PasswordChanges(database, Accounts(database)).make_reset_token(session["user"]["id"])[0]


def reset(client, token, new_password=NEW):
    body = {"token": token, "new_password": new_password}
    return client.post("/api/auth/reset-password", json=body)


def test_session_goes_on_with_new_tokens_when_the_password_is_changed(
    client, session, mongo_database
):
    changed = change(client, session)

    assert changed.status_code == 200
    assert changed.json["user"] == session["user"]
    assert is_open(client, changed.json)
    assert refresh(client, changed.json).status_code == 200
    assert can_log_in(client, NEW)
    assert not can_log_in(client, ANN["password"])
    assert acts(mongo_database) == [("password.set", session["user"]["id"])]


def test_every_other_session_ends_at_once_when_the_password_is_changed(client, session, settings):
    other = client.post("/api/auth/login", json=ANN).json
    other_process = create_app(settings)
    elsewhere = other_process.test_client()
    assert is_open(elsewhere, other)

    changed = change(client, session).json

    assert not is_open(elsewhere, other)
    assert not is_open(client, other)
    assert refresh(client, other).status_code == 401
    assert not is_open(client, session)
    found = client.get("/api/auth/sessions", headers=bearer(changed)).json["data"]
    assert [entry["is_current"] for entry in found] == [True]
    other_process.extensions[EXTENSION].close()


def test_nothing_changes_when_the_current_password_is_wrong(client, session, mongo_database):
    refused = change(client, session, current_password="wrong horse")

    assert (refused.status_code, refused.json["code"]) == (403, "wrong_password")
    assert is_open(client, session)
    assert can_log_in(client, ANN["password"])
    assert acts(mongo_database) == []


def test_password_of_before_it_was_normalised_is_right(client, session, mongo_database):
    typed = "cafe\u0301 au lait"
    old = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(typed)
    mongo_database["users"].update_one({"email": ANN["email"]}, {"$set": {"password_hash": old}})

    assert change(client, session, current_password=typed).status_code == 200


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "at least 8"),
        ("x" * 129, "at most 128"),
        ("password123", "too easy to guess"),
        ("ann@example.com", "too easy to guess"),
    ],
)
@pytest.mark.parametrize("how", ["by the current one", "by a link"])
def test_new_password_is_refused_as_at_registration(client, session, token, how, password, reason):
    if how == "by a link":
        refused = reset(client, token, password)
    else:
        refused = change(client, session, new_password=password)

    assert (refused.status_code, refused.json["field"]) == (400, "new_password")
    assert reason in refused.json["detail"]
    assert password not in refused.json["detail"]
    assert can_log_in(client, ANN["password"])
    assert reset(client, token).status_code == 204


def test_demo_account_is_told_that_it_has_no_password(client):
    session = client.post("/api/auth/demo-login").json

    refused = change(client, session)

    assert (refused.status_code, refused.json["code"]) == (409, "no_password")
    assert is_open(client, session)


def test_token_is_asked_for_before_the_body_is_read(client):
    assert client.post("/api/auth/password", json={"nonsense": 1}).status_code == 401


@pytest.mark.parametrize("value", [{"$ne": None}, ["a"], 1, True], ids=str)
@pytest.mark.parametrize("field", ["current_password", "new_password"])
def test_text_is_asked_for_when_an_operator_is_sent(client, session, field, value):
    refused = change(client, session, **{field: value})

    assert (refused.status_code, refused.json["field"]) == (400, field)


@pytest.mark.parametrize("extra", ["plan", "role", "token_version", "email", "$set"])
def test_no_other_field_is_taken(client, session, token, extra):
    body = {"token": token, "new_password": NEW, extra: "admin"}

    refused = [change(client, session, **{extra: "admin"})]
    refused.append(client.post("/api/auth/reset-password", json=body))

    assert {(r.status_code, r.json["field"]) for r in refused} == {(400, extra)}


def test_login_under_way_never_brings_the_former_password_back(app, session, mongo_database):
    accounts = app.extensions[EXTENSION].accounts
    former = accounts.find_by_email(ANN["email"]).password_hash
    mongo_database["users"].update_one({}, {"$set": {"password_hash": "of a new password"}})

    accounts.renew_password_hash(session["user"]["id"], former, "renewed hash of the former")

    assert accounts.find_by_email(ANN["email"]).password_hash == "of a new password"


def test_new_password_is_set_and_every_session_ends_when_a_link_is_used(
    client, session, token, mongo_database
):
    done = reset(client, token)

    assert done.status_code == 204
    assert not is_open(client, session)
    assert refresh(client, session).status_code == 401
    assert can_log_in(client, NEW)
    assert not can_log_in(client, ANN["password"])
    assert acts(mongo_database) == [("password.reset", session["user"]["id"])]


def make_void(why, client, session, token, database):
    """Make the token one that does not work and return it."""
    if why == "used":
        reset(client, token)
    if why == "expired":
        past = datetime.now(UTC) - timedelta(seconds=1)
        database["users"].update_many({}, {"$set": {"reset_expires_at": past}})
    if why == "replaced":
        make_token(session, database)
    if why == "overtaken by a change":
        change(client, session)
    return {"unknown": "x" * 43, "odd": "\x00$ne"}.get(why, token)


@pytest.mark.parametrize(
    "why", ["unknown", "odd", "used", "expired", "replaced", "overtaken by a change"]
)
def test_one_answer_is_given_when_a_link_does_not_work(client, session, token, mongo_database, why):
    void = make_void(why, client, session, token, mongo_database)
    before = mongo_database["users"].find_one()["password_hash"]

    refused = reset(client, void, "another new one")

    assert (refused.status_code, refused.json["code"]) == (400, "invalid_reset_token")
    assert refused.json["detail"].startswith(LINK_PROBLEM)
    page = client.get("/reset-password", query_string={"token": void})
    assert page.status_code == 400
    assert LINK_PROBLEM in page.text
    assert "<form" not in page.text
    posted = client.post("/reset-password", data={"token": void, "new_password": NEW})
    assert (posted.status_code, posted.text) == (400, page.text)
    assert mongo_database["users"].find_one()["password_hash"] == before


def test_link_sets_one_password_when_it_is_used_at_once(app, session, token):
    def use(number):
        return reset(app.test_client(), token, f"battery staple {number}").status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(use, range(4)))

    assert statuses == [204, 400, 400, 400]


def test_only_the_hash_of_a_token_is_stored(session, token, mongo_database):
    assert token not in str(list(mongo_database["users"].find()))
    assert len(token) == 43


def test_opening_the_link_uses_nothing_up(client, token):
    pages = [client.get("/reset-password", query_string={"token": token}) for _ in range(3)]

    assert [page.status_code for page in pages] == [200, 200, 200]
    assert reset(client, token).status_code == 204


def test_password_is_set_by_the_form_of_the_page(client, session, token, mongo_database):
    page = client.get("/reset-password", query_string={"token": token}).text
    action = re.search(r'<form method="post" action="([^"]+)"', page)[1]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))

    done = client.post(action, data=hidden | {"new_password": NEW})

    assert (action, hidden) == ("/reset-password", {"token": token})
    assert done.status_code == 200
    assert "Your password is set" in done.text
    assert token not in done.text
    assert can_log_in(client, NEW)
    assert not is_open(client, session)
    assert acts(mongo_database) == [("password.reset", session["user"]["id"])]


def test_form_is_shown_again_when_the_password_is_refused(client, token):
    again = client.post("/reset-password", data={"token": token, "new_password": "short"})

    assert again.status_code == 400
    assert "The password must be at least 8 characters long." in again.text
    assert f'value="{token}"' in again.text
    assert 'role="alert"' in again.text


@pytest.mark.parametrize("data", [{}, {"token": ""}, {"token": "<b>", "new_password": "<script>"}])
def test_page_refuses_what_no_form_of_ours_sends(client, session, data):
    refused = client.post("/reset-password", data=data)

    assert refused.status_code == 400
    assert LINK_PROBLEM in refused.text
    assert "<b>" not in refused.text


def test_page_keeps_and_sends_nothing(client, token):
    page = client.get("/reset-password", query_string={"token": token})

    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; base-uri 'none'")
    assert "form-action 'self'; frame-ancestors 'none'" in policy
    assert "<script" not in page.text
    assert not re.search(r'\s(style|on\w+)="', page.text)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page.text)) == {"/reset-password/style.css"}
    style = client.get("/reset-password/style.css")
    assert (style.status_code, style.mimetype) == (200, "text/css")
    assert "light dark" in style.text


def test_token_is_in_no_log_line(client, token, capfd):
    client.get("/reset-password", query_string={"token": token})
    client.post("/reset-password", data={"token": token, "new_password": NEW})

    shown = "".join(capfd.readouterr())
    assert "/reset-password" in shown
    assert token not in shown
    assert NEW not in shown
