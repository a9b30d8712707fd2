"""Where a job's message is shown, and where it is not loaded."""

from __future__ import annotations

import dataclasses

import pytest

from storage import keys
from tests.fakes import NoQueue
from web.services import EXTENSION

MESSAGE = "What is a mutex?"
CHAT = "/api/ai/v4/chat/optimized"


@pytest.fixture
def signed_in(app, client, redis_client):
    """Return a client of a trial user, for an application whose jobs nobody works on."""
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    token = client.post("/api/auth/demo-login").get_json()["access_token"]
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def message_of(response):
    return response.get_json()["request"]["message"]


def submit(client, **headers):
    return client.post(CHAT, json={"message": MESSAGE}, headers=headers)


def test_message_is_shown_by_a_submit_and_its_repeat(signed_in):
    key = {"Idempotency-Key": "once"}

    answers = [submit(signed_in, **key), submit(signed_in, **key)]

    assert [message_of(answer) for answer in answers] == [MESSAGE, MESSAGE]
    assert answers[1].headers["Idempotency-Replayed"] == "true"


def test_message_is_shown_by_a_look_and_a_list_but_not_by_a_poll(signed_in):
    self_link = submit(signed_in).get_json()["links"]["self"]

    assert message_of(signed_in.get(self_link)) == MESSAGE
    (listed,) = signed_in.get("/api/ai/v4/jobs").get_json()["data"]
    assert listed["request"]["message"] == MESSAGE
    assert message_of(signed_in.get(f"{self_link}?after=0")) is None


def test_message_is_shown_when_the_job_is_cancelled_and_when_only_its_record_is_left(
    signed_in, redis_client
):
    job = submit(signed_in).get_json()

    cancelled = signed_in.delete(job["links"]["self"])
    redis_client.delete(keys.job(job["id"]))

    assert (message_of(cancelled), cancelled.get_json()["status"]) == (MESSAGE, "cancelled")
    assert message_of(signed_in.get(job["links"]["self"])) == MESSAGE
