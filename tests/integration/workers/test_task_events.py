"""What Flower gets of jobs: nothing while nobody asks, else each claim as a task, together."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from celery import Celery

from core.jobs import Question
from storage.jobs.claims import Claim
from tests.jobs import make_spec
from workers.task_events import TaskEvents


@pytest.fixture
def app(redis_server):
    with Celery("events", broker=redis_server.url, set_as_current=False) as app:
        yield app


@pytest.fixture
def received(app):
    """Return what waits for the events that were sent, and returns them."""
    found = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": found.append}, routing_key="#")
        with receiver.consumer_context() as (_, channel, _):

            def received():
                with suppress(socket.timeout):
                    while True:
                        channel.connection.client.drain_events(timeout=1)
                return found

            # Only the first look subscribes.
            received()
            yield received


def claim(slot="", attempt=1):
    question = Question("secret")
    fields = {"fence": "f", "attempt": attempt, "accepted_ms": 1, "slot": slot}
    return Claim(spec=make_spec(), question=question, **fields)


def test_jobs_and_slots_are_tasks_of_their_own_names(app, received):
    events = TaskEvents(app, clock=lambda: 7.0)
    events.start("worker-1@here", lambda: True)
    job, turn, end = claim(attempt=2), claim("1.dev"), claim("1.end")
    for one in (job, turn, end):
        events.began(one)
    events.succeeded(job, 1.5)
    events.failed(turn, "model_refused")
    events.came_back(end, "rate_limited")

    events.flush()
    found = received()

    units = [job.job_id, f"{turn.job_id}/1.dev", f"{end.job_id}/1.end"]
    kinds = ["task-received", "task-started"] * 3
    assert [event["type"] for event in found] == [
        *kinds,
        "task-succeeded",
        "task-failed",
        "task-retried",
    ]
    assert [event["uuid"] for event in found[6:]] == units
    names = [event["name"] for event in found if event["type"] == "task-received"]
    assert names == ["chat.run", "chat.agent", "chat.finish"]
    assert {event["hostname"] for event in found} == {"worker-1@here"}
    assert (found[0]["retries"], found[6]["runtime"], found[7]["exception"]) == (
        1,
        1.5,
        "model_refused",
    )
    assert "secret" not in str(found)


def test_nothing_is_kept_while_nobody_asks(app, received):
    events = TaskEvents(app)
    events.began(claim())
    events.start("worker-1@here", lambda: True)

    events.flush()

    assert received() == []


def test_what_the_broker_does_not_take_is_dropped(app):
    with Celery("away", broker="redis://127.0.0.1:9/0", set_as_current=False) as away:
        away.conf.broker_transport_options = {"socket_connect_timeout": 1}
        events = TaskEvents(away)
        events.start("worker-1@here", lambda: True)
        events.began(claim())

        # The loop's own pause: its step has not failed.
        assert events.loop.turn() == 1.0
