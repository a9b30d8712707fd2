"""Asking again what an ended job has asked, on real servers without a worker."""

from __future__ import annotations

import dataclasses

import pytest

from core.jobs import JobStatus
from core.outcome import Answer, JobError, Outcome
from storage import keys
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.claims import ClaimingAttempts
from tests.fakes import NoQueue
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

CHAT, JOBS = "/api/ai/v4/chat", "/api/ai/v4/jobs"
FAILED = Outcome(error=JobError("model_error", "It failed."))
DONE = Outcome(answer=Answer(text="ab", finish_reason="stop", agents=("dev",)))


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
def ended(client, services, headers, redis_client, mongo_database):
    """Return what submits a job and ends it."""
    attempts = ClaimingAttempts(redis_client)
    stream = RecordStream(redis_client, services.job_store)
    writer = RecordWriter(stream, JobRecords(mongo_database, insert_s=10))

    def ended(path="/optimized", outcome=FAILED, **body):
        job = client.post(CHAT + path, json={"message": "What?"} | body, headers=headers).json
        status = JobStatus.COMPLETED if outcome.answer else JobStatus.FAILED
        attempts.finish(attempts.claim(job["id"]), status, outcome)
        writer.run()
        return job

    return ended


@pytest.fixture
def retry(client, headers):
    def retry(job_id, **more):
        return client.post(f"{JOBS}/{job_id}/retry", headers=headers | more)

    return retry


OPTIONS = [
    ("/optimized", {}),
    ("/optimized", {"agent": "luna", "tier": "quick", "temperature": 0.5, "max_tokens": 77}),
    ("/optimized", {"model": "openai/gpt-oss-20b", "metadata": {"ticket": "A-17"}}),
    ("/optimized", {"routing": "cascade", "max_cost_usd": 0.5, "priority": 9}),
    ("/optimized", {"concurrency_key": "k", "concurrency_limit": 3}),
    ("/quick", {"cache": {"mode": "bypass"}}),
    ("/multi-agent", {"agents": ["dev", "luna"], "quorum": 2, "synthesis": False}),
    ("/multi-agent", {"strategy": "debate", "rounds": 3, "agent_deadline_s": 20.0}),
]


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(("path", "body"), OPTIONS)
def test_the_same_is_asked_with_the_same_options(
    is_live, path, body, ended, retry, client, headers, redis_client
):
    first = ended(path, **body)
    if not is_live:
        redis_client.delete(keys.job(first["id"]))

    again = retry(first["id"])

    assert again.status_code == 202, again.text
    assert again.json["id"] != first["id"]
    assert again.json["retry_of"] == first["id"]
    for part in ("request", "mode", "metadata", "conversation_id"):
        assert again.json[part] == first[part]
    schedule = ("priority", "concurrency_key", "concurrency_limit")
    assert [again.json["schedule"][n] for n in schedule] == [first["schedule"][n] for n in schedule]
    assert again.headers["Location"] == again.json["links"]["self"]
    shown = client.get(again.headers["Location"], headers=headers).json
    assert (shown["status"], shown["request"]["message"]) == ("queued", "What?")


def test_a_completed_job_is_answered_anew(ended, retry):
    first = ended(outcome=DONE)

    assert retry(first["id"]).json["status"] == "queued"


def test_a_message_is_tried_again_as_a_branch(ended, retry):
    one = ended(conversation_id="plans")
    two = ended(conversation_id="plans")

    again, root = retry(two["id"]).json, retry(one["id"]).json

    assert (again["conversation_id"], again["parent_id"]) == ("plans", one["id"])
    assert (root["conversation_id"], root["parent_id"]) == ("plans", None)


def test_a_job_that_goes_on_is_not_tried_again(client, services, headers, retry):
    job = client.post(CHAT + "/optimized", json={"message": "What?"}, headers=headers).json

    refused = retry(job["id"])

    assert (refused.status_code, refused.json["code"]) == (409, "job_not_finished")


def test_what_is_not_there_is_not_tried_again(retry):
    refused = retry("job_" + "0" * 32)

    assert (refused.status_code, refused.json["code"]) == (404, "job_not_found")


def test_a_repeat_with_a_key_tries_once(ended, retry):
    first = ended()

    answers = [retry(first["id"], **{"Idempotency-Key": "k"}) for _ in range(2)]

    assert answers[0].json["id"] == answers[1].json["id"]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
