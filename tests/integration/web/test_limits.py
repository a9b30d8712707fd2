"""Who is at a limit gets 429 with its name, over HTTP, on real servers."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from core.plans import PLANS
from storage import keys
from web.app import create_app
from web.services import EXTENSION

CHAT = "/api/ai/v4/chat/optimized"
QUESTION = {"message": "What is a queue?"}
ANN = {"email": "ann@example.com", "password": "correct horse"}
WRONG = ANN | {"password": "wrong battery"}


@pytest.fixture
def made(settings, request):
    """Return what makes a client of an application with further settings."""

    def made(**changes):
        app = create_app(settings.model_copy(update=changes))
        request.addfinalizer(app.extensions[EXTENSION].close)
        return app.test_client()

    return made


def sign_in(client):
    session = client.post("/api/auth/demo-login").json
    return {"Authorization": f"Bearer {session['access_token']}"}, session["user"]["id"]


def problem(response):
    return response.status_code, response.json["code"], response.json.get("limit")


def test_every_submit_says_what_is_left(client):
    headers, _ = sign_in(client)

    first = client.post(CHAT, json=QUESTION, headers=headers)
    second = client.post(CHAT, json=QUESTION, headers=headers)

    assert '"requests_per_minute";q=300;w=60' in first.headers["RateLimit-Policy"]
    assert '"requests_per_minute";r=299' in first.headers["RateLimit"]
    assert '"requests_per_minute";r=298' in second.headers["RateLimit"]


def test_the_limit_that_binds_is_named_with_its_reset(client, redis_client):
    headers, user_id = sign_in(client)
    now = int(time.time()) // 5
    redis_client.hset(
        keys.rates(user_id),
        mapping={
            "requests_per_minute:at": now,
            "requests_per_minute:sum": 300,
            f"requests_per_minute:{now % 13}": 300,
        },
    )

    refused = client.post(CHAT, json=QUESTION, headers=headers)

    assert problem(refused) == (429, "rate_limit_exceeded", "requests_per_minute")
    assert 1 <= int(refused.headers["Retry-After"]) <= 65
    assert refused.json["resets_at"].startswith(f"{datetime.now(UTC):%Y-}")


def test_a_spent_budget_stays_spent_when_redis_has_lost_everything(
    client, redis_client, mongo_database
):
    headers, user_id = sign_in(client)
    budget = PLANS["trial"].monthly_budget_micros
    month = f"{datetime.now(UTC):%Y%m}"
    entry = {"_id": "job_x:settlement", "user_id": user_id, "month": month, "cost_micros": budget}
    mongo_database["ledger"].insert_one(entry)

    refused = client.post(CHAT, json=QUESTION, headers=headers)
    redis_client.flushall()
    used = client.get("/api/subscription", headers=headers).json["usage"]
    again = client.post(CHAT, json=QUESTION, headers=headers)

    assert used["month_spent_usd"] == budget / 1e6
    for response in (refused, again):
        assert problem(response) == (429, "budget_exhausted", "monthly_budget")
        assert int(response.headers["Retry-After"]) > 1
    assert mongo_database["jobs"].count_documents({"user_id": user_id}) == 0


def test_unfinished_jobs_count_again_when_redis_has_lost_everything(client, redis_client):
    headers, user_id = sign_in(client)
    jobs = [client.post(CHAT, json=QUESTION, headers=headers) for _ in range(10)]
    assert {job.status_code for job in jobs} == {202}
    redis_client.flushall()

    refused = client.post(CHAT, json=QUESTION, headers=headers)

    assert problem(refused) == (429, "too_many_jobs", "unfinished")
    assert redis_client.zcard(keys.active(user_id)) == 10


def test_the_deployments_budget_binds_all_users(made, mongo_database):
    client = made(daily_budget_usd=0.5)
    day = f"{datetime.now(UTC):%Y%m%d}"
    entry = {"_id": "job_y:settlement", "user_id": "usr_other", "day": day, "cost_micros": 500_000}
    mongo_database["ledger"].insert_one(entry)
    headers, _ = sign_in(client)

    refused = client.post(CHAT, json=QUESTION, headers=headers)

    assert problem(refused) == (429, "budget_exhausted", "deployment_daily_budget")


def test_guesses_are_throttled_also_when_the_right_one_comes(client):
    client.post("/api/auth/register", json=ANN)

    answers = [client.post("/api/auth/login", json=WRONG).status_code for _ in range(11)]
    right = client.post("/api/auth/login", json=ANN)

    assert answers == [401] * 10 + [429]
    assert problem(right) == (429, "too_many_tries", "failed_logins")
    assert int(right.headers["Retry-After"]) >= 1


def test_an_unknown_address_is_throttled_like_a_known_one(client):
    nobody = WRONG | {"email": "nobody@example.com"}

    answers = [client.post("/api/auth/login", json=nobody).status_code for _ in range(11)]

    assert answers == [401] * 10 + [429]


def test_the_owner_gets_in_from_his_own_address_while_a_stranger_guesses(made):
    client = made(trusted_proxies=("127.0.0.1/32",))
    client.post("/api/auth/register", json=ANN)
    for _ in range(11):
        stranger = client.post(
            "/api/auth/login", json=WRONG, headers={"X-Forwarded-For": "203.0.113.9"}
        )

    owner = client.post("/api/auth/login", json=ANN, headers={"X-Forwarded-For": "203.0.113.5"})

    assert (stranger.status_code, owner.status_code) == (429, 200)


def test_an_address_that_an_untrusted_client_names_is_not_believed(client):
    client.post("/api/auth/register", json=ANN)
    answers = [
        client.post(
            "/api/auth/login", json=WRONG, headers={"X-Forwarded-For": f"203.0.113.{n}"}
        ).status_code
        for n in range(11)
    ]

    assert answers[-1] == 429


@pytest.mark.parametrize("route", ["demo-login", "register"])
def test_an_address_makes_so_many_accounts_in_a_minute_and_no_more(made, route):
    client = made(sign_ups_per_minute=3)

    def sign_up(n):
        body = ANN | {"email": f"{n}@example.com"} if route == "register" else {}
        return client.post(f"/api/auth/{route}", json=body)

    answers = [sign_up(n) for n in range(4)]

    assert [answer.status_code // 100 for answer in answers] == [2, 2, 2, 4]
    assert problem(answers[-1]) == (429, "too_many_tries", "sign_ups")
