"""Submits that a kept answer completes, on real servers without a worker."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from core.jobs import CacheControl
from tests.fakes import NoQueue
from tests.jobs import make_entry
from tests.services import wait_until
from web.services import EXTENSION

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


def counted(services):
    """Return the day's counts of jobs by how they were answered, and what that saved."""
    services.counters.flush()
    counts = services.counters.read(datetime.now(UTC).date())
    # A busy machine may add `cache.errors`: commands that took longer than 50 ms.
    by_job = ("cache.hit", "cache.miss", "cache.coalesced", "cache.saved")
    return {name: count for name, count in counts.items() if name.startswith(by_job)}


def test_submit_counts_when_its_answer_is_kept_and_not_when_a_worker_has_to_look_again(
    services, submit
):
    accepted = submit()
    keep_answer(services, accepted.json["id"])

    answered = submit()

    assert (accepted.status_code, answered.status_code) == (202, 200)
    expected = {"cache.hit.memory": 1, "cache.saved_micros": 7}
    wait_until(lambda: counted(services) == expected, 5, "the counts")


def test_repeat_of_an_idempotency_key_does_not_count_again_when_it_was_a_hit(services, submit):
    keep_answer(services, submit().json["id"])

    jobs = [submit(**{"Idempotency-Key": "once"}).json for _ in range(2)]

    assert jobs[0] == jobs[1]
    expected = {"cache.hit.memory": 1, "cache.saved_micros": 7}
    wait_until(lambda: counted(services) == expected, 5, "the counts")


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
