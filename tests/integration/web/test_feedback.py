"""What users say of their jobs, over HTTP, on real servers without a worker."""

from __future__ import annotations

import dataclasses

import pytest

from core.jobs import CacheControl
from storage import keys
from storage.jobs.store import JobStore
from storage.records.indexes import ensure_validators
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.fakes import NoQueue
from tests.jobs import make_entry
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

QUESTION = {"message": "What is a queue?"}
JOBS = "/api/ai/v4/jobs"


@pytest.fixture
def services(app, redis_client):
    services = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    app.extensions[EXTENSION] = services
    return services


@pytest.fixture
def headers(services, client):
    session = client.post("/api/auth/demo-login").json
    return {"Authorization": f"Bearer {session['access_token']}"}


@pytest.fixture
def write_records(services, redis_client, mongo_database):
    """Return what does upkeep's part: it stores every end that waits in the stream."""
    stream = RecordStream(redis_client, JobStore(redis_client))
    return RecordWriter(stream, JobRecords(mongo_database)).run


@pytest.fixture
def submit(client, headers):
    def submit():
        return client.post("/api/ai/v4/chat/optimized", json=QUESTION, headers=headers).json["id"]

    return submit


@pytest.fixture
def ended(client, headers, submit):
    """The id of a job that has ended and whose end is not recorded yet."""
    job_id = submit()
    client.delete(f"{JOBS}/{job_id}", headers=headers)
    return job_id


@pytest.fixture
def rate(client, headers):
    def rate(job_id, **body):
        return client.post(f"{JOBS}/{job_id}/feedback", json=body, headers=headers)

    return rate


@pytest.fixture
def shown(client, headers):
    """Return what says what each surface shows of a job's feedback."""

    def shown(job_id):
        path = f"{JOBS}/{job_id}"
        job, poll = (client.get(path + query, headers=headers).json for query in ("", "?after=0"))
        listed = {job["id"]: job for job in client.get(JOBS, headers=headers).json["data"]}
        found = [job["feedback"], poll["feedback"], listed[job_id]["feedback"]]
        assert found[1:] == found[:-1]
        return found[0]

    return shown


def test_the_latest_feedback_is_shown_when_a_job_is_rated_twice(rate, shown, ended, write_records):
    rate(ended, rating="up")
    latest = rate(ended, rating="down", comment="Not what I asked.")
    write_records()

    assert latest.status_code == 200
    assert shown(ended) == latest.json
    assert (latest.json["rating"], latest.json["comment"]) == ("down", "Not what I asked.")


def test_feedback_outlives_the_record_that_is_written_after_it(
    rate, shown, ended, write_records, redis_client
):
    feedback = rate(ended, rating="up").json

    write_records()
    redis_client.delete(keys.job(ended), keys.events(ended))

    assert shown(ended) == feedback


def test_feedback_outlives_the_record_when_the_job_had_none_before(
    services, submit, rate, shown, write_records, redis_client
):
    first = submit()
    spec, question = services.job_store.get(first).spec, services.job_store.question(first)
    services.cache.put(services.fingerprints.of(spec, question), make_entry(), CacheControl())
    answered = submit()
    assert services.job_records.existing([answered]) == set()

    feedback = rate(answered, rating="up").json
    write_records()
    redis_client.delete(keys.job(answered), keys.events(answered))

    assert shown(answered) == feedback


def test_a_job_is_rated_when_only_mongodb_has_it(rate, shown, ended, write_records, redis_client):
    write_records()
    redis_client.delete(keys.job(ended), keys.events(ended))

    feedback = rate(ended, rating="down").json

    assert shown(ended) == feedback
    assert redis_client.exists(keys.job(ended)) == 0


def test_feedback_is_gone_when_it_is_taken_back(client, headers, rate, shown, ended, write_records):
    rate(ended, rating="up")
    write_records()

    removed = [client.delete(f"{JOBS}/{ended}/feedback", headers=headers) for _ in range(2)]

    assert [response.status_code for response in removed] == [204, 204]
    assert shown(ended) is None


def test_a_job_is_not_rated_before_its_end(rate, submit, mongo_database):
    refused = rate(submit(), rating="up")

    assert (refused.status_code, refused.json["code"]) == (409, "job_not_finished")
    assert mongo_database["feedback"].count_documents({}) == 0


def test_nobody_rates_the_job_of_another(client, ended, rate, mongo_database):
    session = client.post("/api/auth/demo-login").json
    other = {"Authorization": f"Bearer {session['access_token']}"}
    path = f"{JOBS}/{ended}/feedback"
    rate(ended, rating="up")

    refused = [
        client.post(path, json={"rating": "down"}, headers=other),
        client.delete(path, headers=other),
        client.delete(f"{JOBS}/job_{'0' * 32}/feedback", headers=other),
    ]

    assert [response.json["code"] for response in refused] == ["job_not_found"] * 3
    assert mongo_database["feedback"].find_one({"_id": ended})["rating"] == "up"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "rating"),
        ({"rating": 1}, "rating"),
        ({"rating": {"$ne": None}}, "rating"),
        ({"rating": "up", "comment": "x" * 2001}, "comment"),
        ({"rating": "up", "comment": ["x"]}, "comment"),
        ({"rating": "up", "user_id": "usr_0"}, "user_id"),
    ],
)
def test_feedback_is_refused_when_it_is_malformed(rate, ended, mongo_database, body, field):
    refused = rate(ended, **body)

    assert (refused.status_code, refused.json["field"]) == (400, field)
    assert mongo_database["feedback"].count_documents({}) == 0


def test_the_longest_comment_is_kept_when_each_character_takes_four_bytes(
    rate, shown, ended, mongo_database
):
    ensure_validators(mongo_database)
    comment = "\U0001f600" * 2_000

    assert rate(ended, rating="up", comment=comment).status_code == 200
    assert shown(ended)["comment"] == comment
