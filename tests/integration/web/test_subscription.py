"""Plans and who may change them, over HTTP, on real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from storage.accounts.users import Accounts
from web.services import EXTENSION

PAST = datetime(2020, 1, 1, tzinfo=UTC)
STRANGER = "usr_" + "0" * 32
QUESTION = {"message": "What is a queue?"}


@pytest.fixture
def begin(client):
    """Return what makes an account and returns its headers and its id."""

    def begin():
        session = client.post("/api/auth/demo-login").json
        return {"Authorization": f"Bearer {session['access_token']}"}, session["user"]["id"]

    return begin


@pytest.fixture
def change(app, mongo_database):
    """Return what changes the stored account, as time or another process would."""

    def change(user_id, **fields):
        mongo_database["users"].update_one({"_id": user_id}, {"$set": fields})
        app.extensions[EXTENSION].accounts._cache.clear()

    return change


@pytest.fixture
def admin(begin, change):
    headers, user_id = begin()
    change(user_id, role="admin")
    return headers, user_id


def test_the_plan_says_what_it_allows_and_what_is_used(client, begin):
    headers, _ = begin()
    client.post("/api/ai/v4/chat/optimized", json=QUESTION, headers=headers)

    found = client.get("/api/subscription", headers=headers).json

    assert (found["plan"], found["status"]) == ("trial", "trialing")
    assert found["limits"] == {
        "running": 10,
        "unfinished": 10,
        "requests_per_minute": 300,
        "requests_per_day": 10_000,
        "tokens_per_day": 1_000_000,
        "bytes_per_hour": 64_000_000,
        "agents": 5,
        "batch_lines": 100,
        "max_tier": "standard",
        "monthly_budget_usd": 1.0,
    }
    assert found["usage"]["unfinished"] == 1
    assert found["usage"]["month_spent_usd"] == 0
    assert found["usage"]["month_reserved_usd"] > 0


@pytest.mark.parametrize("route", ["optimized", "quick", "multi-agent", "stream"])
def test_an_account_can_only_be_read_when_its_trial_has_ended(client, begin, change, route):
    headers, user_id = begin()
    job = client.post("/api/ai/v4/chat/optimized", json=QUESTION, headers=headers).json
    change(user_id, trial_ends_at=PAST)

    refused = client.post(f"/api/ai/v4/chat/{route}", json=QUESTION, headers=headers)

    assert (refused.status_code, refused.json["code"]) == (403, "trial_ended")
    assert "an administrator can give you a plan" in refused.json["detail"]
    assert client.get("/api/subscription", headers=headers).json["status"] == "trial_ended"
    assert client.get("/api/subscription", headers=headers).json["usage"]["unfinished"] == 1
    assert client.get(f"/api/ai/v4/jobs/{job['id']}", headers=headers).status_code == 200
    assert client.delete(f"/api/ai/v4/jobs/{job['id']}", headers=headers).status_code == 200


def test_a_trial_begins_once(client, begin, change, mongo_database):
    headers, user_id = begin()
    running = client.post("/api/subscription/trial", headers=headers)
    assert (running.status_code, running.json["status"]) == (200, "trialing")
    change(user_id, trial_ends_at=PAST)

    ended = client.post("/api/subscription/trial", headers=headers)

    assert (ended.status_code, ended.json["code"]) == (409, "trial_used")
    assert mongo_database["users"].find_one({"_id": user_id})["trial_ends_at"] == PAST
    assert mongo_database["audit"].count_documents({}) == 0


def test_an_account_that_had_no_trial_may_begin_it(app, client, begin, change, mongo_database):
    headers, user_id = begin()
    mongo_database["users"].update_one({"_id": user_id}, {"$unset": {"trial_ends_at": ""}})
    change(user_id, plan="basic")

    begun = client.post("/api/subscription/trial", headers=headers).json

    left = datetime.fromisoformat(begun["trial_ends_at"]) - datetime.now(UTC)
    assert begun["plan"] == "trial"
    assert timedelta(days=13, hours=23) < left <= timedelta(days=14)
    assert [entry["act"] for entry in mongo_database["audit"].find()] == ["trial.start"]


def test_an_administrator_changes_a_plan_and_the_log_says_so(client, begin, admin, mongo_database):
    (headers, user_id), (admin_headers, admin_id) = begin(), admin

    changed = client.put(
        f"/api/admin/users/{user_id}/plan", json={"plan": "pro"}, headers=admin_headers
    )

    assert (changed.status_code, changed.json["plan"]) == (200, "pro")
    assert client.get("/api/subscription", headers=headers).json["status"] == "active"
    # A demo account that was given a plan is not deleted with its trial.
    assert "expires_at" not in mongo_database["users"].find_one({"_id": user_id})
    (entry,) = client.get("/api/admin/audit", headers=admin_headers).json["data"]
    assert entry["id"].startswith("aud_")
    assert (entry["actor"], entry["act"], entry["user_id"]) == (admin_id, "plan.set", user_id)
    assert (entry["before"], entry["after"]) == ("trial", "pro")
    assert entry["request_id"] == changed.headers["X-Request-ID"]


def test_a_plan_ends_the_end_of_a_trial(client, begin, admin, change):
    headers, user_id = begin()
    change(user_id, trial_ends_at=PAST)

    client.put(f"/api/admin/users/{user_id}/plan", json={"plan": "basic"}, headers=admin[0])

    job = client.post("/api/ai/v4/chat/optimized", json=QUESTION, headers=headers)
    assert job.status_code == 202


@pytest.mark.parametrize(
    ("user_id", "body", "status", "code"),
    [
        (None, {"plan": "gold"}, 400, "unknown_plan"),
        (None, {"plan": {"$ne": None}}, 400, "unknown_plan"),
        (None, {}, 400, "unknown_plan"),
        (None, {"plan": "pro", "role": "admin"}, 400, "invalid_request"),
        (STRANGER, {"plan": "pro"}, 404, "user_not_found"),
        ("$ne", {"plan": "pro"}, 404, "user_not_found"),
    ],
)
def test_nothing_is_changed_when_the_plan_or_the_account_is_unknown(
    client, begin, admin, mongo_database, user_id, body, status, code
):
    target = user_id or begin()[1]

    refused = client.put(f"/api/admin/users/{target}/plan", json=body, headers=admin[0])

    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert mongo_database["users"].count_documents({"plan": "trial"}) == 2 - bool(user_id)
    assert mongo_database["audit"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("method", "path"), [("put", f"/api/admin/users/{STRANGER}/plan"), ("get", "/api/admin/audit")]
)
def test_only_administrators_administrate(client, begin, method, path):
    headers, _ = begin()
    ask = getattr(client, method)

    refused = ask(path, json={"plan": "enterprise"} if method == "put" else None, headers=headers)

    assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    assert ask(path).status_code == 401


def test_the_log_is_read_page_by_page(client, begin, admin):
    _, user_id = begin()
    for plan in ("basic", "pro", "enterprise"):
        client.put(f"/api/admin/users/{user_id}/plan", json={"plan": plan}, headers=admin[0])

    first = client.get("/api/admin/audit?limit=2", headers=admin[0]).json
    path = f"/api/admin/audit?limit=2&cursor={first['next_cursor']}"
    second = client.get(path, headers=admin[0]).json

    assert [entry["after"] for entry in first["data"]] == ["enterprise", "pro"]
    assert [entry["after"] for entry in second["data"]] == ["basic"]
    assert second["next_cursor"] is None


def test_the_log_is_read_of_one_account(client, begin, admin):
    ids = [begin()[1] for _ in range(2)]
    for user_id in ids:
        client.put(f"/api/admin/users/{user_id}/plan", json={"plan": "pro"}, headers=admin[0])

    found = client.get(f"/api/admin/audit?user_id={ids[0]}", headers=admin[0]).json["data"]
    wrong = client.get("/api/admin/audit?user_id=everybody", headers=admin[0])

    assert [entry["user_id"] for entry in found] == ids[:1]
    assert (wrong.status_code, wrong.json["field"]) == (400, "user_id")


def test_a_role_is_set_by_the_store_alone(client, mongo_database):
    body = {"email": "eve@example.com", "password": "correct horse", "role": "admin"}

    refused = client.post("/api/auth/register", json=body)

    assert (refused.status_code, refused.json["field"]) == (400, "role")
    assert mongo_database["users"].count_documents({}) == 0


def test_a_demotion_holds_at_once_in_the_process_that_makes_it(app, client, admin):
    headers, admin_id = admin
    accounts: Accounts = app.extensions[EXTENSION].accounts

    accounts.set_role(admin_id, "user")

    assert client.get("/api/admin/audit", headers=headers).status_code == 403
