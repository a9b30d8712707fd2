"""When a job starts: what a request may say of that, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from storage import keys

CHAT = "/api/ai/v4/chat/optimized"


@pytest.fixture
def signed_in(app, client, redis_client):
    """Return a client of a trial user; no worker runs."""
    token = client.post("/api/auth/demo-login").get_json()["access_token"]
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def at(**ahead):
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def submit(client, **fields):
    return client.post(CHAT, json={"message": "When?", "cache": {"mode": "bypass"}, **fields})


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"priority": "high"}, "invalid_priority", "priority"),
        ({"priority": 11}, "invalid_priority", "priority"),
        ({"priority": 1.5}, "invalid_priority", "priority"),
        ({"concurrency_key": "k" * 300}, "invalid_concurrency", "concurrency_key"),
        ({"concurrency_key": ""}, "invalid_concurrency", "concurrency_key"),
        ({"concurrency_limit": 0}, "invalid_concurrency", "concurrency_limit"),
        ({"run_at": "tomorrow"}, "invalid_time", "run_at"),
        ({"run_at": "2026-11-26T10:00:00"}, "invalid_time", "run_at"),
        ({"run_at": 1_795_700_000}, "invalid_time", "run_at"),
        ({"run_at": at(days=31)}, "invalid_time", "run_at"),
        ({"expires_at": at(days=31)}, "invalid_time", "expires_at"),
        ({"expires_at": at(hours=-1)}, "expiry_in_past", "expires_at"),
        ({"run_at": at(hours=-1), "expires_at": at(hours=-2)}, "expiry_in_past", "expires_at"),
        ({"run_at": at(hours=2), "expires_at": at(hours=1)}, "expires_before_run", "expires_at"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_and_nothing_is_stored(
    fields, code, field, signed_in, redis_client
):
    answer = submit(signed_in, **fields)

    problem = answer.get_json()
    assert (answer.status_code, problem["code"], problem["field"]) == (400, code, field)
    assert problem["detail"].endswith(".")
    assert not list(redis_client.scan_iter("aether:*:job:*"))


def test_a_job_shows_its_schedule_and_its_place(signed_in):
    run_at = at(hours=1)
    later = submit(signed_in, run_at=run_at, priority=9, concurrency_key="a b").get_json()
    first, second = submit(signed_in).get_json(), submit(signed_in).get_json()

    assert later["schedule"]["run_at"][:19] == run_at[:19]
    assert later["schedule"]["expires_at"] > run_at
    assert later["schedule"] | {"run_at": 0, "expires_at": 0} == {
        "priority": 9,
        "run_at": 0,
        "expires_at": 0,
        "concurrency_key": "a b",
        "concurrency_limit": 1,
    }
    assert later["queue"]["position"] is None
    assert 3_000 < later["queue"]["estimated_start_s"] <= 3_600
    assert [job["queue"]["position"] for job in (first, second)] == [1, 2]
    looked_at = signed_in.get(second["links"]["self"]).get_json()
    assert looked_at["queue"] == {"position": 2, "estimated_start_s": None}


def test_a_start_that_is_past_stands_for_at_once(signed_in, redis_client):
    job = submit(signed_in, run_at=at(hours=-1)).get_json()

    assert (job["schedule"]["run_at"], job["queue"]["position"]) == (None, 1)
    assert not redis_client.exists(keys.DEFERRED)
