"""An application whose servers are nowhere."""

from __future__ import annotations

import pytest

from core.settings import Settings
from tests.openapi import CheckedClient
from web.app import create_app
from web.services import EXTENSION


@pytest.fixture
def settings():
    return Settings(
        jwt_secret="Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA",
        redis_url="redis://127.0.0.1:1/0",
        mongo_url="mongodb://127.0.0.1:1",
        max_body_bytes=2_048,
        max_message_chars=100,
        max_output_tokens=50,
    )


@pytest.fixture
def app(settings):
    app = create_app(settings)
    yield app
    app.extensions[EXTENSION].close()


@pytest.fixture
def client(app):
    """A client that fails where a response is not as the document says."""
    app.test_client_class = CheckedClient
    return app.test_client()
