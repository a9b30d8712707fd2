"""Finding jobs over HTTP, on real servers without a worker."""

from __future__ import annotations

import dataclasses

import pytest

from core.jobs import JobStatus
from core.outcome import Answer, Outcome
from core.timing import iso_time, now_ms
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.claims import ClaimingAttempts
from tests.fakes import NoQueue
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

CHAT, JOBS = "/api/ai/v4/chat", "/api/ai/v4/jobs"
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
def submit(client, services, headers):
    def submit(message, path="/optimized", **body):
        return client.post(CHAT + path, json={"message": message} | body, headers=headers).json

    return submit


@pytest.fixture
def attempts(redis_client):
    return ClaimingAttempts(redis_client)


@pytest.fixture
def end(attempts, redis_client, mongo_database, services):
    stream = RecordStream(redis_client, services.job_store)
    writer = RecordWriter(stream, JobRecords(mongo_database, insert_s=10))

    def end(job):
        attempts.finish(attempts.claim(job["id"]), JobStatus.COMPLETED, DONE)
        writer.run()

    return end


@pytest.fixture
def found(client, headers):
    """Return what lists the questions of the jobs that match."""

    def found(**query):
        answer = client.get(JOBS, query_string=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return [job["request"]["message"] for job in answer.json["data"]]

    return found


def test_jobs_are_found_by_what_they_are_and_where_they_stand(submit, end, attempts, found):
    first = submit("Where do foxes sleep?", agent="dev", metadata={"ticket": "A-1", "t": "x"})
    submit("Why do hens?", "/multi-agent", agents=["luna", "sage"], metadata={"ticket": "A-2"})
    third = submit("Was ist ein Grüner Fuchs?", tier="quick", metadata={"ticket": "A-1"})
    attempts.claim(third["id"])
    end(first)

    assert found(status="in_progress") == ["Was ist ein Grüner Fuchs?"]
    assert found(status="queued") == ["Why do hens?"]
    assert found(status="completed") == ["Where do foxes sleep?"]
    assert found(mode="multi_agent") == ["Why do hens?"]
    assert found(agent="luna") == ["Why do hens?"]
    assert found(agent="dev") == ["Where do foxes sleep?"]
    assert found(metadata="ticket=A-1") == ["Was ist ein Grüner Fuchs?", "Where do foxes sleep?"]
    assert found(metadata=["ticket=A-1", "t=x"]) == ["Where do foxes sleep?"]
    assert found(text="FOX sle") == ["Where do foxes sleep?"]
    assert found(text="gruner") == ["Was ist ein Grüner Fuchs?"]
    assert found(text="hens", status="completed") == []
    assert found(**{"from": iso_time(now_ms() + 60_000)}) == []
    assert len(found(**{"from": "2026-01-01T00:00:00Z", "to": iso_time(now_ms() + 60_000)})) == 3


def test_pages_go_on_within_their_filter(submit, client, headers):
    for number in range(5):
        submit(f"Question {number}", metadata={"kind": "even" if number % 2 == 0 else "odd"})
    query = {"metadata": "kind=even", "limit": 2}

    page = client.get(JOBS, query_string=query, headers=headers).json
    rest = client.get(JOBS, query_string=query | {"cursor": page["next_cursor"]}, headers=headers)

    found = [job["request"]["message"] for job in (*page["data"], *rest.json["data"])]
    assert found == ["Question 4", "Question 2", "Question 0"]
    assert rest.json["next_cursor"] is None
    for other in ({}, {"metadata": "kind=odd"}, {"text": "question"}):
        refused = client.get(
            JOBS, query_string=other | {"cursor": page["next_cursor"]}, headers=headers
        )
        assert (refused.status_code, refused.json["code"]) == (400, "cursor_of_other_filter")
    plain = client.get(JOBS, query_string={"limit": 1}, headers=headers).json["next_cursor"]
    refused = client.get(JOBS, query_string=query | {"cursor": plain}, headers=headers)
    assert refused.json["code"] == "cursor_of_other_filter"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "done"}, "status"),
        ({"mode": "slow"}, "mode"),
        ({"agent": "../x"}, "agent"),
        ({"model": ""}, "model"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-11-27"}, "to"),
        ({"metadata": "ticket"}, "metadata"),
        ({"metadata": "=A-1"}, "metadata"),
        ({"metadata": ["a=1", "b=2", "c=3", "d=4", "e=5"]}, "metadata"),
        ({"text": "  ?!"}, "text"),
        ({"text": "x" * 201}, "text"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "1.2.3.4"}, "cursor"),
        ({"cursor": "253402300800000.job_1"}, "cursor"),
        ({"words": "x"}, "words"),
    ],
)
def test_a_wrong_filter_is_refused(client, headers, services, query, field):
    refused = client.get(JOBS, query_string=query, headers=headers)

    assert (refused.status_code, refused.json["code"]) in (
        (400, "invalid_request"),
        (400, "invalid_time"),
    ), refused.text
    assert refused.json["field"].startswith(field)
