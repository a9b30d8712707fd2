"""Events of ended jobs that Redis has let go, on real servers without a worker."""

from __future__ import annotations

import dataclasses

import pytest

from core.events import agent_delta, answer_delta, job_retrying
from core.jobs import JobStatus
from core.outcome import Answer, JobError, Outcome
from storage import keys
from storage.jobs.claims import Batch
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.claims import ClaimingAttempts
from tests.fakes import NoQueue
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

CHAT, JOBS = "/api/ai/v4/chat", "/api/ai/v4/jobs"
ANSWER = Answer(text="Grüße 🌍", finish_reason="stop", agents=("dev",))
CUT = Answer(text="Grü", finish_reason="length", agents=("dev",))
PIECES = [answer_delta("dev", text) for text in ("Grü", "ße\n\n", " 🌍", "")]
ENDS = {
    "whole": (JobStatus.COMPLETED, Outcome(answer=ANSWER), PIECES),
    "retried": (
        JobStatus.COMPLETED,
        Outcome(answer=ANSWER),
        [*PIECES, job_retrying("lease_lost", 2), *PIECES],
    ),
    "team": (
        JobStatus.COMPLETED,
        Outcome(answer=ANSWER, degraded=True),
        [agent_delta("luna", "no", round_number=2), *PIECES],
    ),
    "failed": (JobStatus.FAILED, Outcome(error=JobError("model_error", "It failed.")), []),
    "cancelled": (JobStatus.CANCELLED, Outcome(answer=CUT), PIECES[:1]),
    "incomplete": (JobStatus.INCOMPLETE, Outcome(answer=CUT), PIECES[:1]),
}


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
def write(services, redis_client, mongo_database):
    stream = RecordStream(redis_client, services.job_store)
    return RecordWriter(stream, JobRecords(mongo_database, insert_s=10)).run


@pytest.fixture
def ended(client, services, headers, redis_client, write):
    """Return what submits a job, ends it and writes its record."""
    attempts = ClaimingAttempts(redis_client)

    def ended(end="whole"):
        status, outcome, events = ENDS[end]
        job = client.post(CHAT + "/optimized", json={"message": "What?"}, headers=headers).json
        claim = attempts.claim(job["id"])
        attempts.append([(claim, Batch([event])) for event in events])
        attempts.finish(claim, status, outcome)
        write()
        return job["id"]

    return ended


@pytest.fixture
def let_go(redis_client):
    """Return what removes all that Redis has of a job."""
    return lambda job_id: redis_client.delete(keys.job(job_id), keys.events(job_id))


@pytest.fixture
def read(client, headers):
    """Return what reads polls and streams after every number, as bytes."""

    def read(job_id, query=""):
        cursor = client.get(f"{JOBS}/{job_id}", headers=headers).json["cursor"]
        urls = [
            f"{JOBS}/{job_id}{path}?after={after}{query}"
            for after in range(cursor + 1)
            for path in ("", "/events")
        ]
        answers = [client.get(url, headers=headers) for url in urls]
        return [(answer.status_code, answer.data) for answer in answers]

    return read


@pytest.mark.parametrize("query", ["", "&types=answer.delta"])
@pytest.mark.parametrize("end", ENDS)
def test_polls_and_streams_are_the_same_when_redis_has_let_the_job_go(
    end, query, ended, let_go, read
):
    job_id = ended(end)
    from_redis = read(job_id, query)

    let_go(job_id)

    assert read(job_id, query) == from_redis
    assert b"job.snapshot" not in b"".join(body for _, body in from_redis)


def test_events_come_from_the_record_when_redis_has_the_job_without_its_log(
    ended, read, redis_client
):
    job_id = ended()
    from_redis = read(job_id)

    redis_client.delete(keys.events(job_id))

    assert read(job_id) == from_redis


def test_a_record_of_the_version_before_is_told_by_a_snapshot(
    ended, let_go, client, headers, mongo_database
):
    job_id = ended()
    mongo_database["jobs"].update_one({"_id": job_id}, {"$unset": {"log": 1}})
    let_go(job_id)

    poll = client.get(f"{JOBS}/{job_id}?after=1", headers=headers).json
    stream = client.get(f"{JOBS}/{job_id}/events?after=1", headers=headers).data

    assert (poll["events"], poll["next_after"]) == ([], 1)
    assert b"event: job.snapshot" in stream


def test_a_record_that_is_written_again_keeps_its_events(
    ended, let_go, read, services, mongo_database
):
    job_id = ended()
    from_redis = read(job_id)
    job = services.job_store.get_whole([job_id])[0]
    log = services.event_log.read(job_id, after=0)
    let_go(job_id)

    JobRecords(mongo_database, insert_s=10).write_finished([job], {job_id: log})

    assert read(job_id) == from_redis
