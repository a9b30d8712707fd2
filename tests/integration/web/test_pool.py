"""No connection to MongoDB is held while a request waits for an answer."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from pymongo import MongoClient
from pymongo.monitoring import ConnectionPoolListener

from storage import connections
from tests.fakes import NoQueue
from tests.services import wait_until
from web.app import create_app
from web.services import EXTENSION

CHAT = "/api/ai/v4/chat/optimized"


class Held(ConnectionPoolListener):
    """Counts the connections that are checked out of a client's pools."""

    def __init__(self):
        self.now = self.ever = 0
        self._lock = threading.Lock()

    def connection_checked_out(self, event):
        with self._lock:
            self.now += 1
            self.ever += 1

    def connection_checked_in(self, event):
        with self._lock:
            self.now -= 1

    def _ignore(self, event):
        pass

    pool_created = pool_ready = pool_cleared = pool_closed = _ignore
    connection_created = connection_ready = connection_closed = _ignore
    connection_check_out_started = connection_check_out_failed = _ignore


@pytest.fixture
def held(monkeypatch):
    held = Held()

    def listening(*args, event_listeners=(), **options):
        return MongoClient(*args, event_listeners=[*event_listeners, held], **options)

    monkeypatch.setattr(connections, "MongoClient", listening)
    return held


@pytest.fixture
def app(held, settings):
    app = create_app(settings)
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    yield app
    app.extensions[EXTENSION].close()


def test_nobody_who_waits_for_answers_holds_a_connection(app, held, mongo_database):
    token = app.test_client().post("/api/auth/demo-login").json["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=60"}
    answers = []

    def ask():
        body = {"message": "What is a mutex?"}
        answers.append(app.test_client().post(CHAT, json=body, headers=headers))

    waiting = [threading.Thread(target=ask) for _ in range(3)]
    for thread in waiting:
        thread.start()
    jobs = mongo_database["jobs"]
    wait_until(lambda: jobs.count_documents({}) == len(waiting), 30, "the records of the jobs")
    wait_until(lambda: held.now == 0, 30, "every connection to be back")

    assert held.ever > 0
    assert answers == []
    for job in list(jobs.find({}, {"_id": 1})):
        app.test_client().delete(f"/api/ai/v4/jobs/{job['_id']}", headers=headers)
    for thread in waiting:
        thread.join(60)
    assert [answer.json["status"] for answer in answers] == ["cancelled"] * 3


def test_the_pool_is_bounded_and_no_wait_is_without_end(settings):
    database = connections.mongo_database(settings)
    options = database.client.options
    pool = options.pool_options

    assert (pool.max_pool_size, pool.wait_queue_timeout) == (100, 2.0)
    assert (pool.connect_timeout, pool.socket_timeout) == (3.0, 2.5)
    assert options.server_selection_timeout == 3.0
    database.client.close()
