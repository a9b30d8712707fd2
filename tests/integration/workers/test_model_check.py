"""What a worker says at its start of the provider's models."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from agents.groq.model import GroqModel
from core.models import read_catalogue
from workers.model_check import warn_of_missing_models


@pytest.fixture
def provider(stub_server):
    model = GroqModel("key", stub_server.url, max_connections=1)
    yield model
    model.close()


def said_of(provider, catalogue):
    with capture_logs() as logs:
        warn_of_missing_models(provider, read_catalogue(catalogue))
    return [(line["log_level"], line.get("models")) for line in logs]


def test_nothing_is_said_when_the_provider_has_every_model(provider):
    assert said_of(provider, "groq") == []


def test_missing_models_are_named_in_one_warning(provider):
    assert said_of(provider, "embedded") == [("warning", ["smollm2-135m-instruct"])]


def test_worker_goes_on_when_the_provider_does_not_answer():
    away = GroqModel("key", "http://127.0.0.1:1", max_connections=1)

    assert said_of(away, "groq") == [("warning", None)]

    away.close()
