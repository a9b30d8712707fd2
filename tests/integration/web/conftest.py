"""The application on real servers, asked through its WSGI interface."""

from __future__ import annotations

import pytest

from core.settings import Settings
from storage.records.indexes import ensure_indexes
from tests.openapi import CheckedClient
from web.app import create_app
from web.services import EXTENSION


@pytest.fixture
def settings(redis_server, redis_client, mongo_server, mongo_database):
    """Settings of an application on an empty Redis and an empty database."""
    return Settings(
        jwt_secret="Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA",
        redis_url=redis_server.url,
        mongo_url=mongo_server.url,
        mongo_database=mongo_database.name,
        sign_ups_per_minute=100_000,
    )


@pytest.fixture
def app(settings, mongo_database):
    ensure_indexes(mongo_database)
    app = create_app(settings)
    yield app
    app.extensions[EXTENSION].close()


@pytest.fixture
def client(app):
    """A client that fails where a response is not as the document says."""
    app.test_client_class = CheckedClient
    return app.test_client()
