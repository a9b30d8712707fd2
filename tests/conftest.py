"""Servers and clients that any test may ask for."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from pymongo.database import Database
from pytest_celery import CeleryTestBackend, CeleryTestBroker
from redis import Redis

from ops.stack.own import Child
from tests.celery_nodes import Jobs, ProcessContainer
from tests.services import start_mongo, start_redis, start_stub


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Keep a developer's own settings, and above all keys, away from the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AETHER_") or name == "GROQ_API_KEY":
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    server = start_mongo(tmp_path_factory.mktemp("mongo"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """The stub upstream; see `ops/stub/upstream.py` for what a message can make it do."""
    server = start_stub(tmp_path_factory.mktemp("stub"), first_token_ms=5)
    yield server
    server.stop()


@pytest.fixture
def redis_client(redis_server: Child) -> Iterator[Redis]:
    """A client of an empty Redis; answers are bytes."""
    client = Redis.from_url(redis_server.url, socket_timeout=10, protocol=2)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="session")
def mongo_client(mongo_server: Child) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        mongo_server.url, tz_aware=True, serverSelectionTimeoutMS=5_000, timeoutMS=10_000
    )
    client.admin.command("ping")  # what tests time begins with a connection
    yield client
    client.close()


@pytest.fixture
def mongo_database(
    mongo_client: pymongo.MongoClient[dict[str, Any]],
) -> Iterator[Database[dict[str, Any]]]:
    """A database that is this test's alone."""
    database = mongo_client[f"test_{uuid.uuid4().hex[:12]}"]
    yield database
    mongo_client.drop_database(database.name)


@pytest.fixture
def celery_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryTestBroker]:
    """pytest-celery's broker as a child process: the Redis that carries messages."""
    server = start_redis(tmp_path_factory.mktemp("broker"))
    broker = CeleryTestBroker(ProcessContainer("broker", server))
    yield broker
    broker.teardown()


@pytest.fixture
def celery_backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryTestBackend]:
    """pytest-celery's backend as a child process: the Redis of the jobs and of Celery's chords."""
    server = start_redis(tmp_path_factory.mktemp("backend"))
    backend = CeleryTestBackend(ProcessContainer("backend", server))
    yield backend
    backend.teardown()


@pytest.fixture
def worker_settings(
    celery_broker: CeleryTestBroker,
    celery_backend: CeleryTestBackend,
    mongo_server: Child,
    mongo_database: Database[dict[str, Any]],
    stub_server: Child,
) -> dict[str, str]:
    """The variables of a worker between these nodes; the stub answers for the model."""
    return {
        "AETHER_BROKER_URL": celery_broker.config()["url"],
        "AETHER_REDIS_URL": celery_backend.config()["url"],
        "AETHER_MONGO_URL": mongo_server.url,
        "AETHER_MONGO_DATABASE": mongo_database.name,
        "AETHER_LLM_URL": stub_server.url,
    }


@pytest.fixture
def jobs(
    celery_backend: CeleryTestBackend, mongo_database: Database[dict[str, Any]]
) -> Iterator[Jobs]:
    """What accepts jobs for a worker between these nodes."""
    with Redis.from_url(celery_backend.config()["url"], protocol=2) as client:
        yield Jobs(client, mongo_database)
