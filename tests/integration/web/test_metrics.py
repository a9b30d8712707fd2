"""What Prometheus reads of the API, on real servers."""

from __future__ import annotations

import dataclasses

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from monitoring.families import FAMILIES
from ops.stack.state import ROOT
from web.services import EXTENSION

TOKEN = "scrape-" + "x" * 32


@pytest.fixture
def scrape(app, client):
    services = app.extensions[EXTENSION]
    settings = services.settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    app.extensions[EXTENSION] = dataclasses.replace(services, settings=settings)

    def scrape(token=TOKEN):
        services.metrics.flush()
        return client.get("/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})

    return scrape


def samples(response):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_requests_jobs_and_commands_are_measured(client, scrape):
    token = client.post("/api/auth/demo-login").json["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    client.post("/api/ai/v4/chat/optimized", json={"message": "What?"}, headers=headers)
    client.get("/api/ai/v4/jobs/job_" + "0" * 32, headers=headers)
    client.get("/no/such/route/" + "x" * 40)

    found = samples(scrape())

    route = ("route", "/api/ai/v4/chat/optimized")
    requests = "aether_http_requests_total"
    assert found[requests, ("method", "POST"), route, ("status_class", "2xx")] == 1
    assert found[requests, ("method", "GET"), ("route", ""), ("status_class", "4xx")] == 1
    assert found["aether_jobs_submitted_total", ("mode", "optimized")] == 1
    assert found["aether_queue_depth", ("queue", "run")] == 1
    operations = {
        labels for name, *labels in found if name.startswith("aether_db_") for labels in labels
    }
    assert {("operation", "accept"), ("operation", "insert"), ("system", "mongo")} <= operations


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), ("", 401), (TOKEN, 200)])
def test_only_the_token_opens_it(token, status, scrape):
    assert scrape(token).status_code == status


def test_a_user_is_refused(client, scrape):
    assert scrape(client.post("/api/auth/demo-login").json["access_token"]).status_code == 403


def test_an_empty_token_opens_nothing(client):
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401


def test_every_metric_is_documented():
    text = (ROOT / "docs" / "monitoring.md").read_text()

    assert [name for name in FAMILIES if f"`{name}`" not in text] == []
