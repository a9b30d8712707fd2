"""Every route asked by everybody, with another user's ids: nobody gets what is not his."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from core.jobs import Job, JobStatus
from core.scopes import SCOPES
from core.webhooks import message_id
from tests.jobs import make_spec
from web.accounts.scopes import SCOPE_OF
from web.services import EXTENSION

#: What only the owner may ever be shown.
CONVERSATION = "xq7-conversation"
MARK = "xq7-only-the-owner-may-read-this"
CALLERS = ("anonymous", "stranger", "admin", "stranger's key")
#: What a client may send in the place of a text, hoping that it becomes part of a query.
OPERATORS = ({"$ne": None}, {"$gt": ""}, {"$where": "1"}, [{"$regex": ".*"}])


class Row(Struct, frozen=True, kw_only=True):
    """One route.

    Attributes:
        access: who may call it at all: anyone, users, or administrators.
        body: a valid one; its operators are tried in each of its fields.
        foreign: what users are answered whose ids the path has not.
    """

    access: str = "user"
    body: dict[str, Any] | None = None
    foreign: int | None = None


ASK = {"message": "What is a queue?"}
ROWS = {
    "GET /api/admin/audit": Row(access="admin"),
    "PUT /api/admin/users/<string:user_id>/plan": Row(access="admin", body={"plan": "basic"}),
    "POST /api/ai/v4/chat/multi-agent": Row(body=ASK | {"agents": ["dev"]}),
    "POST /api/ai/v4/chat/optimized": Row(
        body=ASK | {"agent": "dev", "concurrency_key": "k", "webhook": "https://a.example"}
    ),
    "POST /api/ai/v4/chat/quick": Row(body=ASK | {"conversation_id": "c"}),
    "POST /api/ai/v4/chat/stream": Row(body=ASK | {"metadata": {"name": "text"}}),
    "GET /api/account/export": Row(),
    "DELETE /api/account": Row(body={"password": "wrong battery"}),
    "GET /api/ai/v4/jobs": Row(),
    "GET /api/ai/v4/jobs/<string:job_id>": Row(foreign=404),
    "DELETE /api/ai/v4/jobs/<string:job_id>": Row(foreign=404),
    "GET /api/ai/v4/jobs/<string:job_id>/events": Row(foreign=404),
    "POST /api/ai/v4/jobs/<string:job_id>/retry": Row(foreign=404),
    "POST /api/ai/v4/jobs/<string:job_id>/feedback": Row(
        body={"rating": "up", "comment": "good"}, foreign=404
    ),
    "DELETE /api/ai/v4/jobs/<string:job_id>/feedback": Row(foreign=404),
    "GET /metrics": Row(access="admin"),
    "POST /api/ai/v4/jobs/cancel": Row(body={"agent": "dev", "metadata": ["a=b"], "text": "word"}),
    "POST /api/ai/v4/jobs/retry": Row(body={"status": "failed", "from": "2026-11-01T00:00:00Z"}),
    "GET /api/ai/v4/actions": Row(),
    "GET /api/ai/v4/actions/<string:action_id>": Row(foreign=404),
    "GET /api/ai/v4/webhooks/secret": Row(),
    "POST /api/ai/v4/webhooks/secret/rotate": Row(body={}),
    "GET /api/ai/v4/webhooks/deliveries": Row(),
    "GET /api/ai/v4/webhooks/deliveries/<string:delivery_id>": Row(foreign=404),
    "POST /api/ai/v4/webhooks/deliveries/<string:delivery_id>/resend": Row(foreign=404),
    "GET /api/ai/v4/analytics/user": Row(),
    "GET /api/admin/analytics": Row(access="admin"),
    "POST /api/ai/v4/conversations": Row(body={"id": "plans", "title": "Plans"}),
    "GET /api/ai/v4/conversations": Row(),
    "GET /api/ai/v4/conversations/<string:conversation_id>": Row(foreign=404),
    "PATCH /api/ai/v4/conversations/<string:conversation_id>": Row(
        body={"title": "Stolen"}, foreign=404
    ),
    "DELETE /api/ai/v4/conversations/<string:conversation_id>": Row(foreign=404),
    "GET /api/ai/v4/conversations/<string:conversation_id>/messages": Row(foreign=404),
    "GET /api/ai/v4/conversations/<string:conversation_id>/export": Row(foreign=404),
    "POST /api/auth/demo-login": Row(access="anyone", body={}),
    "POST /api/auth/login": Row(
        access="anyone", body={"email": "a@example.com", "password": "wrong battery"}
    ),
    "POST /api/auth/logout": Row(body={"everywhere": False}),
    "GET /api/auth/me": Row(),
    "POST /api/auth/password": Row(
        body={"current_password": "wrong battery", "new_password": "right horse battery"}
    ),
    "POST /api/auth/refresh": Row(access="anyone", body={"refresh_token": "x"}),
    "POST /api/auth/register": Row(
        access="anyone", body={"email": "b@example.com", "password": "right horse", "name": "B"}
    ),
    "POST /api/auth/reset-password": Row(
        access="anyone", body={"token": "x" * 43, "new_password": "right horse battery"}
    ),
    "GET /api/auth/sessions": Row(),
    "DELETE /api/auth/sessions": Row(),
    "DELETE /api/auth/sessions/<string:session_id>": Row(foreign=404),
    "POST /api/keys": Row(body={"name": "k", "scopes": ["jobs:read"], "plan": "trial"}),
    "GET /api/keys": Row(),
    "DELETE /api/keys/<string:key_id>": Row(foreign=404),
    "GET /api/subscription": Row(),
    "POST /api/subscription/trial": Row(body={}),
    "GET /docs": Row(access="anyone"),
    "GET /docs/style.css": Row(access="anyone"),
    "GET /healthz": Row(access="anyone"),
    "GET /openapi.json": Row(access="anyone"),
    "GET /readyz": Row(access="anyone"),
    "GET /reset-password": Row(access="anyone"),
    "POST /reset-password": Row(access="anyone"),
    "GET /reset-password/style.css": Row(access="anyone"),
}
STREAMS = {"POST /api/ai/v4/chat/stream"}


def rules_of(app):
    return {
        f"{method} {rule.rule}": rule
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"OPTIONS", "HEAD"}
    }


def test_every_route_has_a_row(app):
    assert set(rules_of(app)) == set(ROWS)


class Owner(Struct, frozen=True, kw_only=True):
    """Who has what all others ask for."""

    headers: dict[str, str]
    ids: dict[str, str]


def sign_in(client):
    session = client.post("/api/auth/demo-login").json
    return {"Authorization": f"Bearer {session['access_token']}"}, session["user"]["id"]


@pytest.fixture
def owner(app, client):
    headers, user_id = sign_in(client)
    job = client.post(
        "/api/ai/v4/chat/optimized",
        json={"message": MARK, "metadata": {"mark": MARK}, "conversation_id": CONVERSATION},
        headers=headers,
    ).json
    key = client.post("/api/keys", json={"name": MARK}, headers=headers).json
    (session,) = client.get("/api/auth/sessions", headers=headers).json["data"]
    told = make_spec(user_id=user_id, webhook=f"https://hooks.example.com/{MARK}")
    app.extensions[EXTENSION].deliveries.add([Job(spec=told, status=JobStatus.FAILED)])
    wanted = {"status": "failed", "text": MARK}
    action = client.post("/api/ai/v4/jobs/retry", json=wanted, headers=headers).json
    ids = {
        "action_id": action["id"],
        "delivery_id": message_id(told.id),
        "user_id": user_id,
        "job_id": job["id"],
        "key_id": key["id"],
        "session_id": session["id"],
        "conversation_id": CONVERSATION,
    }
    return Owner(headers=headers, ids=ids)


@pytest.fixture
def as_(app, client, mongo_database):
    """Return what makes the headers of a caller who is not the owner."""

    def as_(caller):
        if caller == "anonymous":
            return {}
        headers, user_id = sign_in(client)
        if caller == "admin":
            mongo_database["users"].update_one({"_id": user_id}, {"$set": {"role": "admin"}})
            app.extensions[EXTENSION].accounts._cache.clear()
        if caller == "stranger's key":
            wanted = {"name": "all", "scopes": list(SCOPES)}
            key = client.post("/api/keys", json=wanted, headers=headers).json["key"]
            return {"Authorization": f"Bearer {key}"}
        return headers

    return as_


def expected(row, rule, caller):
    """Return the statuses that a caller may be given."""
    if row.access == "anyone":
        return None
    if caller == "anonymous":
        return {401}
    if caller == "stranger's key" and rule.endpoint not in SCOPE_OF:
        return {403}
    if row.access == "admin":
        return {200} if caller == "admin" else {403}
    return {row.foreign} if row.foreign else None


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", sorted(set(ROWS) - STREAMS))
def test_nobody_sees_or_changes_what_is_anothers(app, client, owner, as_, route, caller):
    row, rule = ROWS[route], rules_of(app)[route]
    method, path = route.split(" ")
    for name, own in owner.ids.items():
        path = path.replace(f"<string:{name}>", own)

    answer = client.open(path, method=method, json=row.body, headers=as_(caller))

    statuses = expected(row, rule, caller)
    assert answer.status_code < 500
    assert statuses is None or answer.status_code in statuses, answer.text
    if (row.access, caller) != ("admin", "admin"):
        assert MARK not in answer.text
        assert owner.ids["user_id"] not in answer.text
    assert_nothing_is_changed(client, owner)


def assert_nothing_is_changed(client, owner):
    job = client.get(f"/api/ai/v4/jobs/{owner.ids['job_id']}", headers=owner.headers)
    keys = client.get("/api/keys", headers=owner.headers)
    assert (job.status_code, job.json["status"]) == (200, "queued")
    assert [key["id"] for key in keys.json["data"]] == [owner.ids["key_id"]]


BODIES = sorted(
    (route, field) for route, row in ROWS.items() for field in (row.body or {}) if row.body
)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
@pytest.mark.parametrize(("route", "field"), BODIES)
def test_an_operator_in_the_place_of_a_value_is_refused(
    app, client, as_, mongo_database, route, field, operator
):
    row = ROWS[route]
    method, path = route.split(" ")
    headers = as_("admin" if row.access == "admin" else "stranger")
    path = path.replace("<string:user_id>", "usr_" + "0" * 32)
    jobs, users = (mongo_database[name].count_documents({}) for name in ("jobs", "users"))

    refused = client.open(path, method=method, json=row.body | {field: operator}, headers=headers)

    assert refused.status_code == 400, refused.text
    assert refused.json["field"].startswith(field)
    assert mongo_database["jobs"].count_documents({}) == jobs
    assert mongo_database["users"].count_documents({}) == users


@pytest.mark.parametrize("operator", ['{"$ne":null}', "$where", "[$ne]", "../", "*", "%00"])
@pytest.mark.parametrize("route", sorted(r for r in ROWS if "<string:" in r))
def test_an_operator_in_a_path_names_nothing(client, as_, route, operator):
    row = ROWS[route]
    method, path = route.split(" ")
    headers = as_("admin" if row.access == "admin" else "stranger")
    begin, _, rest = path.partition("<")
    path = f"{begin}{operator}{rest.partition('>')[2]}"

    answer = client.open(path, method=method, json=row.body, headers=headers)

    # An address that is not in its plain form is answered with that form.
    assert answer.status_code in (404, 308)
