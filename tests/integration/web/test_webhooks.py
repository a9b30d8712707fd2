"""Webhooks over HTTP, on real servers without a worker."""

from __future__ import annotations

import dataclasses

import pytest

from core.jobs import JobStatus
from core.outcome import JobError, Outcome
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.claims import ClaimingAttempts
from tests.fakes import NoQueue
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

CHAT, JOBS, HOOKS = "/api/ai/v4/chat/optimized", "/api/ai/v4/jobs", "/api/ai/v4/webhooks"
URL = "https://hooks.example.com/aether?tenant=7"
FAILED = Outcome(error=JobError("model_error", "It failed."))


@pytest.fixture
def services(app):
    services = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    app.extensions[EXTENSION] = services
    return services


@pytest.fixture
def headers(client):
    token = client.post("/api/auth/demo-login").json["access_token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def submit(client, services, headers):
    def submit(headers=headers, **body):
        return client.post(CHAT, json={"message": "What?"} | body, headers=headers)

    return submit


@pytest.fixture
def end(redis_client, mongo_database, services):
    """Return what ends a submitted job and records it."""
    attempts = ClaimingAttempts(redis_client)
    stream = RecordStream(redis_client, services.job_store)
    writer = RecordWriter(stream, JobRecords(mongo_database, insert_s=10))

    def end(job_id):
        attempts.finish(attempts.claim(job_id), JobStatus.FAILED, FAILED)
        writer.run()

    return end


@pytest.fixture
def get(client, headers):
    return lambda path, **query: client.get(HOOKS + path, query_string=query, headers=headers)


def test_a_job_shows_its_webhook(submit, client, headers):
    job = submit(webhook=URL).json

    assert job["webhook"] == URL
    assert client.get(f"{JOBS}/{job['id']}", headers=headers).json["webhook"] == URL
    assert submit().json["webhook"] is None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://hooks.example.com", "webhook_not_https"),
        ("https://127.0.0.1/x", "webhook_not_public"),
        ("https://redis:6379/", "webhook_not_public"),
        ("https://user:password@hooks.example.com", "invalid_webhook"),
    ],
)
def test_a_wrong_webhook_is_refused_and_nothing_is_stored(
    submit, client, headers, mongo_database, redis_client, url, code
):
    refused = submit(webhook=url)

    assert (refused.status_code, refused.json["code"]) == (400, code)
    assert refused.json["field"] == "webhook"
    assert mongo_database["jobs"].count_documents({}) == 0
    assert list(redis_client.scan_iter("aether:*:job:*")) == []
    key = {"name": "k", "webhook": url}
    refused = client.post("/api/keys", json=key, headers=headers)
    assert (refused.status_code, refused.json["code"]) == (400, code)


@pytest.mark.parametrize("url", ["", 7, ["https://hooks.example.com"]])
def test_what_is_no_text_is_an_invalid_request(submit, url):
    assert submit(webhook=url).json["code"] == "invalid_request"


def test_the_keys_webhook_is_for_its_jobs_that_name_none(client, headers, submit):
    made = client.post("/api/keys", json={"name": "k", "webhook": URL}, headers=headers).json
    as_key = {"Authorization": f"Bearer {made['key']}"}

    assert made["webhook"] == URL
    assert client.get("/api/keys", headers=headers).json["data"][0]["webhook"] == URL
    assert submit(as_key).json["webhook"] == URL
    assert submit(as_key, webhook=f"{URL}&own=1").json["webhook"] == f"{URL}&own=1"


def test_an_ended_job_has_a_delivery(submit, end, get):
    first, second = (submit(webhook=URL).json for _ in range(2))
    end(first["id"])
    end(second["id"])

    page = get("/deliveries", limit=1).json
    rest = get("/deliveries", limit=1, cursor=page["next_cursor"]).json

    assert [one["job_id"] for one in (*page["data"], *rest["data"])] == [second["id"], first["id"]]
    (delivery,) = page["data"]
    assert (delivery["type"], delivery["status"], delivery["url"]) == ("job.failed", "pending", URL)
    assert (delivery["attempts"], delivery["error"]) == (0, None)
    assert delivery["next_attempt_at"] is not None
    assert get(f"/deliveries/{delivery['id']}").json == delivery
    assert get("/deliveries", status="dead").json["data"] == []
    assert get("/deliveries", status="gone").json["code"] == "invalid_request"
    assert get("/deliveries", cursor="x").json["code"] == "invalid_request"


def test_a_dead_delivery_is_sent_again(submit, end, get, client, headers, services):
    job = submit(webhook=URL).json
    end(job["id"])
    (delivery,) = get("/deliveries").json["data"]
    path = f"{HOOKS}/deliveries/{delivery['id']}/resend"
    early = client.post(path, headers=headers)
    assert (early.status_code, early.json["code"]) == (409, "delivery_unfinished")
    stored = services.deliveries.get(_user_of(client, headers), delivery["id"])
    services.deliveries.give_up(stored, "http_500")
    assert get("/deliveries", status="dead").json["data"][0]["error"] == "http_500"

    again = client.post(path, headers=headers)

    assert (again.status_code, again.json["status"], again.json["error"]) == (202, "pending", None)


def _user_of(client, headers):
    return client.get("/api/auth/me", headers=headers).json["id"]


def test_an_unknown_delivery_is_not_found(get, client, headers):
    assert get("/deliveries/msg_1").json["code"] == "delivery_not_found"
    sent = client.post(f"{HOOKS}/deliveries/msg_1/resend", headers=headers)
    assert (sent.status_code, sent.json["code"]) == (404, "delivery_not_found")


def test_the_secret_stays_until_it_is_replaced(get, client, headers, mongo_database):
    first = get("/secret").json
    assert first["secret"].startswith("whsec_")
    assert first["previous_until"] is None
    assert get("/secret").json == first

    second = client.post(f"{HOOKS}/secret/rotate", headers=headers).json

    assert second["secret"] != first["secret"]
    assert second["previous_until"] is not None
    assert get("/secret").json == second
    acts = [entry["act"] for entry in mongo_database["audit"].find()]
    assert acts == ["webhook_secret.rotate"]


def test_no_api_key_sees_the_secret(client, headers):
    scopes = ["jobs:read", "jobs:write", "account:read"]
    made = client.post("/api/keys", json={"name": "k", "scopes": scopes}, headers=headers).json
    as_key = {"Authorization": f"Bearer {made['key']}"}

    assert client.get(f"{HOOKS}/secret", headers=as_key).json["code"] == "session_required"
    assert client.get(f"{HOOKS}/deliveries", headers=as_key).status_code == 200


def test_an_export_has_the_deliveries_and_no_secret(submit, end, get, client, headers):
    secret = get("/secret").json["secret"]
    job = submit(webhook=URL).json
    end(job["id"])

    exported = client.get("/api/account/export", headers=headers).data.decode()

    assert "webhook_delivery" in exported
    assert URL in exported
    assert secret not in exported
