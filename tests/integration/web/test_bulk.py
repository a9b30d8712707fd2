"""Acts on many jobs over HTTP, on real servers without upkeep."""

from __future__ import annotations

import dataclasses

import pytest

from core.jobs import JobStatus
from tests.fakes import NoQueue
from web.services import EXTENSION

API = "/api/ai/v4"


@pytest.fixture
def services(app):
    services = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    app.extensions[EXTENSION] = services
    return services


@pytest.fixture
def headers(client):
    token = client.post("/api/auth/demo-login").json["access_token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def act(client, headers):
    return lambda kind, **body: client.post(f"{API}/jobs/{kind}", json=body, headers=headers)


@pytest.fixture
def get(client, headers):
    return lambda path, **query: client.get(API + path, query_string=query, headers=headers)


def test_an_action_is_begun_and_can_be_looked_at(act, get, services):
    begun = act("cancel", mode="quick", metadata=["run=a"], text="Foxes")

    assert begun.status_code == 202
    action = begun.json
    assert begun.headers["Location"] == action["links"]["self"] == f"{API}/actions/{action['id']}"
    assert (action["kind"], action["status"], action["done"]) == ("cancel", "running", 0)
    assert action["filter"] == {"mode": "quick", "metadata": ["run=a"], "text": "foxes"}
    assert get(f"/actions/{action['id']}").json == action
    taken = services.bulk_actions.claim(1 << 42, 1 << 42)
    assert (taken.id, taken.filter.unfinished) == (action["id"], True)


def test_without_a_status_failed_jobs_are_asked_again(act, services):
    assert act("retry", all=True).json["filter"] == {"status": "failed"}
    assert services.bulk_actions.claim(1 << 42, 1 << 42).filter.status is JobStatus.FAILED


@pytest.mark.parametrize(
    ("kind", "status"),
    [("cancel", "queued"), ("cancel", "in_progress"), ("retry", "completed"), ("retry", "failed")],
)
def test_jobs_of_one_state_are_meant(act, kind, status):
    begun = act(kind, status=status, **{"from": "2026-11-01T00:00:00Z"})

    assert begun.status_code == 202, begun.text
    assert begun.json["filter"] == {"status": status, "from": "2026-11-01T00:00:00.000Z"}


def test_actions_are_listed_newest_first(act, get):
    ids = [act("cancel", all=True).json["id"] for _ in range(3)]

    page = get("/actions", limit=2).json
    rest = get("/actions", limit=2, cursor=page["next_cursor"]).json

    assert {one["id"] for one in (*page["data"], *rest["data"])} == set(ids)
    assert (len(page["data"]), rest["next_cursor"]) == (2, None)


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("cancel", {"status": "failed"}, "status"),
        ("retry", {"status": "queued"}, "status"),
        ("cancel", {"status": "done"}, "status"),
        ("retry", {"metadata": ["x"]}, "metadata"),
        ("retry", {"metadata": "a=b", "words": "x"}, "words"),
        ("cancel", {"limit": 5}, "limit"),
    ],
)
def test_a_wrong_filter_is_refused_and_nothing_is_begun(act, get, kind, body, field):
    refused = act(kind, **body)

    assert (refused.status_code, refused.json["code"]) == (400, "invalid_request")
    assert refused.json["field"].startswith(field)
    assert get("/actions").json["data"] == []


@pytest.mark.parametrize("kind", ["cancel", "retry"])
def test_everything_has_to_be_asked_for_plainly(act, kind):
    assert act(kind).json["code"] == "invalid_request"
    assert act(kind, all=True).status_code == 202


def test_ten_run_at_a_time(act):
    for _ in range(10):
        assert act("cancel", all=True).status_code == 202

    refused = act("cancel", all=True)

    assert (refused.status_code, refused.json["code"]) == (429, "too_many_actions")
    assert int(refused.headers["Retry-After"]) >= 1


def test_an_unknown_action_is_not_found(get):
    assert get("/actions/act_1").status_code == 404
