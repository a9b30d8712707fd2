"""What clients are answered while Redis is there and refuses."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
from werkzeug.test import Client

from web.services import EXTENSION


@contextmanager
def configured(redis, name, value):
    before = redis.config_get(name)[name]
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, before)


def full(redis):
    return configured(redis, "maxmemory", "100kb")


def without_replicas(redis):
    return configured(redis, "min-replicas-to-write", "1")


@contextmanager
def read_only(redis):
    redis.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        redis.replicaof("NO", "ONE")


@pytest.fixture
def user(client, redis_client):
    token = client.post("/api/auth/demo-login").json["access_token"]
    return {"Authorization": f"Bearer {token}"}


def submit(client, user):
    return client.post("/api/ai/v4/chat/optimized", json={"message": "hello"}, headers=user)


@pytest.mark.parametrize("refusing", [full, without_replicas, read_only])
def test_requests_are_refused_for_now_and_work_afterwards(client, user, redis_client, refusing):
    job = submit(client, user).json["id"]

    with refusing(redis_client):
        answers = {
            "submit": submit(client, user),
            "cancel": client.delete(f"/api/ai/v4/jobs/{job}", headers=user),
        }
        shown = client.get(f"/api/ai/v4/jobs/{job}", headers=user)
        alive = client.get("/readyz")

    for answer in answers.values():
        assert (answer.status_code, answer.json["code"]) == (503, "coordinator_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert (shown.status_code, alive.status_code) == (200, 200)
    assert client.delete(f"/api/ai/v4/jobs/{job}", headers=user).status_code == 200
    assert submit(client, user).status_code == 202


@pytest.mark.parametrize("refusing", [full, without_replicas, read_only])
def test_a_logout_that_cannot_be_kept_is_refused_for_now(client, user, redis_client, refusing):
    with refusing(redis_client):
        refused = client.post("/api/auth/logout", json={}, headers=user)

    assert (refused.status_code, refused.json["code"]) == (503, "coordinator_unavailable")
    assert client.post("/api/auth/logout", json={}, headers=user).status_code in (200, 204)


def test_content_is_not_looked_at_when_the_user_is_at_the_limit(app, client, user, monkeypatch):
    for _ in range(10):
        assert submit(client, user).status_code == 202
    blind = replace(app.extensions[EXTENSION], fingerprints=None)
    monkeypatch.setitem(app.extensions, EXTENSION, blind)

    response = client.post(
        "/api/ai/v4/chat/optimized", json={"message": "x " * 15_000}, headers=user
    )

    assert (response.status_code, response.json["code"]) == (429, "too_many_jobs")


def test_new_jobs_wait_while_redis_is_nearly_full(app, client, user, redis_client):
    running = submit(client, user).json["id"]
    used = redis_client.info("memory")["used_memory"]
    app.extensions[EXTENSION].memory._looked_at = float("-inf")

    with configured(redis_client, "maxmemory", int(used * 1.02)):
        refused = submit(client, user)
        shown = client.get(f"/api/ai/v4/jobs/{running}", headers=user)
    app.extensions[EXTENSION].memory._looked_at = float("-inf")

    assert (refused.status_code, refused.json["code"]) == (503, "coordinator_full")
    assert refused.headers["Retry-After"]
    assert shown.status_code == 200
    assert submit(client, user).status_code == 202


def test_a_user_cannot_hold_more_streams_than_a_process_allows(app, client, user):
    job = submit(client, user).json["id"]
    app.extensions[EXTENSION].open_requests._of_user = 2
    events = f"/api/ai/v4/jobs/{job}/events"
    # The other client reads what it gets to the end.
    reader = Client(app)
    streams = [reader.get(events, headers=user) for _ in range(2)]

    refused = client.get(events, headers=user)
    waiting = client.get(f"/api/ai/v4/jobs/{job}?wait=1", headers=user)
    submitted = client.post(
        "/api/ai/v4/chat/optimized",
        json={"message": "hello"},
        headers=user | {"Prefer": "wait=30"},
    )
    for stream in streams:
        stream.close()

    for answer in (refused, waiting):
        assert (answer.status_code, answer.json["code"]) == (429, "too_many_streams")
    assert submitted.status_code == 202
    assert "Preference-Applied" not in submitted.headers
    with reader.get(events, headers=user) as again:
        assert again.status_code == 200
