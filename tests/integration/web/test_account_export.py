"""What an account's export holds, and what it never holds, on real servers without a worker."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict

import msgspec
import pytest

from core.errors import CoordinatorUnavailable, StoreUnavailable
from core.jobs import JobStatus
from core.outcome import Answer, Outcome
from storage import keys
from storage.accounts.personal_data import HOLDINGS
from storage.jobs.exchanges import Exchange
from storage.jobs.store import JobStore
from storage.records.comparisons import Comparisons
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.claims import ClaimingAttempts
from tests.fakes import NoQueue
from tests.jobs import make_comparison
from web.accounts import export
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

PASSWORD = "correct horse battery"
DONE = Outcome(answer=Answer(text="words", finish_reason="stop", agents=("dev",)), cost_micros=30)


@pytest.fixture
def services(app, redis_client):
    services = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    app.extensions[EXTENSION] = services
    return services


@pytest.fixture
def register(client, services):
    def register(email):
        body = {"email": email, "password": PASSWORD}
        session = client.post("/api/auth/register", json=body).json
        return {"Authorization": f"Bearer {session['access_token']}"}, session["user"]["id"]

    return register


@pytest.fixture
def ask(client, redis_client, mongo_database):
    """Return what submits a question, answers it, records its end, and returns the job's id."""
    attempts = ClaimingAttempts(redis_client)
    stream = RecordStream(redis_client, JobStore(redis_client))
    writer = RecordWriter(stream, JobRecords(mongo_database))

    def ask(headers, message, **body):
        body = {"message": message, **body}
        job = client.post("/api/ai/v4/chat/optimized", json=body, headers=headers).json
        attempts.finish(attempts.claim(job["id"]), JobStatus.COMPLETED, DONE)
        writer.run()
        return job["id"]

    return ask


def by_type(response):
    found = defaultdict(list)
    for line in response.get_data(as_text=True).splitlines():
        entry = json.loads(line)
        found[entry["type"]].append(entry["data"])
    return found


@pytest.fixture
def account(client, register, ask, mongo_database, redis_client, services):
    """The headers and the id of a user of whom there is something of every kind."""
    headers, user_id = register("ann@example.com")
    first = ask(headers, "What is a queue?", conversation_id="talk")
    ask(headers, "And a stack?", conversation_id="talk", webhook="https://hooks.example.com")
    client.post("/api/ai/v4/jobs/retry", json={"text": "queue"}, headers=headers)
    kept = msgspec.json.encode(Exchange("Of old?", "words"))
    redis_client.rpush(keys.conversation(user_id, "talk"), kept)
    rating = {"rating": "down", "comment": "too short"}
    client.post(f"/api/ai/v4/jobs/{first}/feedback", json=rating, headers=headers)
    Comparisons(mongo_database).add(make_comparison("worse", job_id=first, user_id=user_id))
    services.job_records.set_aside.add(first, user_id, "Fault")
    mongo_database["api_keys"].insert_one(
        {"_id": "key_1", "user_id": user_id, "name": "ci", "key_hash": "f" * 64}
    )
    return headers, user_id


def test_an_export_holds_all_that_is_held_of_the_account(client, account):
    headers, _ = account
    waiting = client.post(
        "/api/ai/v4/chat/optimized", json={"message": "Later?"}, headers=headers
    ).json

    response = client.get("/api/account/export", headers=headers)

    found = by_type(response)
    assert response.content_type == "application/x-ndjson"
    assert found["account"][0]["email"] == "ann@example.com"
    assert [job["request"]["message"] for job in found["job"]] == [
        "Later?",
        "And a stack?",
        "What is a queue?",
    ]
    assert [job["answer"] and job["answer"]["text"] for job in found["job"]] == [
        None,
        "words",
        "words",
    ]
    assert found["job"][0]["id"] == waiting["id"]
    assert found["job"][2]["feedback"]["comment"] == "too short"
    assert [(c["id"], c["title"]) for c in found["conversation"]] == [("talk", "What is a queue?")]
    assert found["exchanges"] == [
        {"id": "talk", "exchanges": [{"message": "Of old?", "answer": "words"}]}
    ]
    types = {event["type"] for event in found["event"]}
    assert {"job.queued", "job.completed"} <= types
    assert [entry["cost_usd"] for entry in found["ledger"]] == [0.00003] * 2
    assert [entry["verdict"] for entry in found["comparison"]] == ["worse"]
    assert [entry["name"] for entry in found["api_key"]] == ["ci"]
    assert [entry["act"] for entry in found["audit"]] == ["account.export"]
    assert len(found["session"]) == len(found["set_aside"]) == 1
    assert found["webhook_delivery"][0]["url"] == "https://hooks.example.com"
    assert found["bulk_action"][0]["filter"] == {"status": "failed", "words": ["queue"]}
    assert {holding.kind for holding in HOLDINGS if holding.kind} <= found.keys()
    lines = response.get_data(as_text=True).splitlines()
    assert json.loads(lines[-1]) == {"type": "end", "data": {"lines": len(lines) - 1}}


def test_an_export_holds_no_secret(client, account, mongo_database):
    headers, user_id = account
    user = mongo_database["users"].find_one({"_id": user_id})
    family = mongo_database["refresh_families"].find_one({"user_id": user_id})

    text = client.get("/api/account/export", headers=headers).get_data(as_text=True)

    secrets = [user["password_hash"], user["cache_secret"], family["token_hash"], "f" * 64]
    assert [secret for secret in secrets if secret in text] == []
    assert "hash" not in text
    assert "secret" not in text


def test_an_export_holds_nothing_of_another(client, account, register, ask):
    bob, bob_id = register("bob@example.com")
    theirs = ask(bob, "What is private?", conversation_id="talk")

    text = client.get("/api/account/export", headers=account[0]).get_data(as_text=True)
    of_bob = by_type(client.get("/api/account/export", headers=bob))

    assert [word for word in ("private", "bob", bob_id, theirs) if word in text] == []
    assert [job["id"] for job in of_bob["job"]] == [theirs]
    assert [entry["id"] for entry in of_bob["conversation"]] == ["talk"]


def test_pages_of_an_export_hold_each_job_once(client, account, ask, monkeypatch):
    monkeypatch.setattr(export, "_JOBS_AT_ONCE", 2)
    monkeypatch.setattr(export, "_EVENTS_AT_ONCE", 1)
    headers, _ = account
    wanted = [ask(headers, f"What is {n}?") for n in range(3)]

    found = by_type(client.get("/api/account/export", headers=headers))

    ids = [job["id"] for job in found["job"]]
    assert len(ids) == len(set(ids)) == 5
    assert ids[:3] == wanted[::-1]
    numbers = [(event["job_id"], event["sequence"]) for event in found["event"]]
    assert len(numbers) == len(set(numbers)) == 10


def test_an_export_that_is_cut_off_has_no_end(client, account, monkeypatch):
    def fail(*arguments, **named):
        raise CoordinatorUnavailable

    monkeypatch.setattr("storage.jobs.user_keys.UserKeys.conversation", fail)

    found = by_type(client.get("/api/account/export", headers=account[0]))

    assert len(found["account"]) == 1
    assert "end" not in found


def test_an_export_is_refused_when_nothing_can_be_read(client, account, monkeypatch):
    def fail(*arguments, **named):
        raise StoreUnavailable
        yield

    monkeypatch.setattr("storage.accounts.personal_data.PersonalData.rows", fail)

    refused = client.get("/api/account/export", headers=account[0])

    assert (refused.status_code, refused.json["code"]) == (503, "store_unavailable")


def test_nobody_exports_without_a_token(client, services, mongo_database):
    assert client.get("/api/account/export").status_code == 401
    assert mongo_database["audit"].count_documents({}) == 0
