"""Submits that a kept answer completes, on real servers without a worker."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest

from core.jobs import CacheControl
from monitoring import families
from monitoring.job_metrics import measure_ends
from monitoring.readings import Readings
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.fakes import NoQueue
from tests.jobs import make_entry
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

CHAT = "/api/ai/v4/chat/optimized"


@pytest.fixture
def services(app, redis_client):
    services = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    app.extensions[EXTENSION] = services
    return services


@pytest.fixture
def submit(client):
    token = client.post("/api/auth/demo-login").json["access_token"]

    def submit(**headers):
        headers = {"Authorization": f"Bearer {token}", **headers}
        return client.post(CHAT, json={"message": "What is a mutex?"}, headers=headers)

    return submit


def keep_answer(services, job_id):
    """Keep an answer to the question of an accepted job."""
    spec, question = services.job_store.get(job_id).spec, services.job_store.question(job_id)
    services.cache.put(services.fingerprints.of(spec, question), make_entry(), CacheControl())


@pytest.fixture
def counted(services, redis_client, mongo_database):
    """Return how ended jobs were answered, each recorded and counted once, and what that saved."""
    stream = RecordStream(redis_client, services.job_store)
    measure = partial(measure_ends, services.metrics)
    writer = RecordWriter(stream, JobRecords(mongo_database, insert_s=10), on_written=measure)

    def counted():
        writer.run()
        services.metrics.flush()
        reading = Readings(redis_client).since_ever()
        lookups = reading.counts.get(families.CACHE_LOOKUPS.name, {})
        return dict(lookups), reading.total(families.LLM_SAVED, reason="cache")

    return counted


def test_submit_counts_when_its_answer_is_kept_and_not_when_a_worker_has_to_look_again(
    services, submit, counted
):
    accepted = submit()
    keep_answer(services, accepted.json["id"])

    answered = submit()

    assert (accepted.status_code, answered.status_code) == (202, 200)
    assert counted() == ({("hit_memory",): 1}, 0.000007)


def test_repeat_of_an_idempotency_key_does_not_count_again_when_it_was_a_hit(
    services, submit, counted
):
    keep_answer(services, submit().json["id"])

    jobs = [submit(**{"Idempotency-Key": "once"}).json for _ in range(2)]

    assert jobs[0] == jobs[1]
    assert counted() == ({("hit_memory",): 1}, 0.000007)


def test_the_job_carries_the_secret_of_its_user_and_no_response_shows_it(
    services, client, submit, mongo_database
):
    (user,) = mongo_database["users"].find()

    accepted = submit()
    keep_answer(services, accepted.json["id"])
    answered = submit()

    spec = services.job_store.get(accepted.json["id"]).spec
    assert spec.cache_secret == user["cache_secret"]
    headers = {"Authorization": accepted.request.headers["Authorization"]}
    paths = ("/api/auth/me", "/api/ai/v4/jobs", answered.headers["Location"])
    shown = [client.get(path, headers=headers) for path in paths]
    assert [response.status_code for response in shown] == [200] * 3
    texts = [response.get_data(as_text=True) for response in (accepted, answered, *shown)]
    assert not [text for text in texts if spec.cache_secret in text]


def test_time_of_a_hit_is_spent_on_accepting_it(services, submit):
    keep_answer(services, submit().json["id"])

    timing = submit().json["timing_ms"]

    assert timing["accept"] == timing["total"]
    assert (timing["model"], timing["first_token"]) == (0, None)
