"""What a running stack returns is what its OpenAPI document says."""

from __future__ import annotations

import httpx
import pytest

from tests.api_client import CHAT, JOBS
from tests.openapi import check_response

TEAM = {"path": "multi-agent", "agents": ["dev", "sage"]}
JOBS_OF_ALL_KINDS = {
    "of one agent": ({"message": "Why?", "metadata": {"a": "b"}}, "completed"),
    "of the quick route": ({"message": "Hi", "path": "quick", "agent": "luna"}, "completed"),
    "of a cascade": ({"message": "Why so?", "routing": "cascade"}, "completed"),
    "of a model that fails once": ({"message": "How? [[stub:once cut_after=3]]"}, "completed"),
    "of a fallback": ({"message": "Where? [[stub:once 404]]"}, "completed"),
    "that fails": ({"message": "[[stub:401]]"}, "failed"),
    "that is cut": ({"message": "[[stub:length]]", "max_cost_usd": 1}, "incomplete"),
    "of a team": ({"message": "Who?", **TEAM}, "completed"),
    "of a debate": ({"message": "Which?", "strategy": "debate", **TEAM}, "completed"),
    "of a team without a synthesis": (
        {"message": "What?", "synthesis": False, **TEAM},
        "completed",
    ),
    "of a team whose agent fails": ({"message": "Hm [[stub@sage:401]]", **TEAM}, "completed"),
    "of a team that fails": ({"message": "No [[stub:401]]", **TEAM}, "failed"),
}


@pytest.fixture
def api(api):
    """A client that fails where a response is not as the document says."""
    document = api.http.get("/openapi.json").json()

    def check(response):
        body, request = response.read(), response.request
        check_response(
            document,
            request.method,
            request.url.path,
            response.status_code,
            response.headers,
            body,
        )

    api.http.event_hooks["response"] = [check]
    return api


@pytest.mark.parametrize(("request_", "status"), JOBS_OF_ALL_KINDS.values(), ids=JOBS_OF_ALL_KINDS)
def test_job_its_poll_and_its_events_fit_the_document(api, request_, status):
    job = api.ask(**request_)

    assert job["status"] == status
    polled = api.job(job["id"], after=0)
    assert polled["events"] == api.events(job["id"])
    assert polled["next_after"] == job["cursor"]


def test_answer_from_the_cache_fits_the_document(api):
    api.ask("What is a cache?")

    assert api.ask("What is a cache?")["cache"]["status"] == "hit"


def test_waiting_running_and_cancelled_jobs_fit_the_document(api):
    submitted = api.submit("[[stub:tokens=3 stall_after=3]]")
    job_id = submitted.json()["id"]

    assert submitted.status_code == 202
    api.job(job_id, wait=1)
    assert api.cancel(job_id).status_code in (200, 202)
    assert api.end_of(job_id)["status"] == "cancelled"
    assert api.http.get(JOBS).json()["data"][0]["id"] == job_id


def test_stream_of_a_submit_fits_the_document(api):
    assert api.submit("Hello", path="stream").status_code == 200


def test_stream_fits_the_document_when_it_begins_beyond_the_log(api):
    job = api.ask("Hello again")

    (snapshot,) = api.events(job["id"], after=job["cursor"] + 5)

    assert snapshot["type"] == "job.snapshot"
    assert snapshot["data"]["id"] == job["id"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", f"{CHAT}/optimized", {"json": {}}, 400),
        ("POST", f"{CHAT}/optimized", {"json": {"message": "m", "agent": "bob"}}, 400),
        ("POST", f"{CHAT}/optimized", {"json": {"message": "m", "tier": "deep"}}, 403),
        ("POST", f"{CHAT}/quick", {"json": {"message": "m", "tier": "deep"}}, 400),
        ("POST", f"{CHAT}/stream", {"content": b"text"}, 415),
        ("POST", f"{CHAT}/stream", {"content": b" " * 2**20}, 413),
        ("GET", f"{JOBS}/job_1", {}, 404),
        ("GET", f"{JOBS}?cursor=x", {}, 400),
        # Without the client's own authentication, which would refresh its token.
        ("GET", JOBS, {"headers": {"Authorization": "Bearer x"}, "auth": httpx.Auth()}, 401),
        ("GET", f"{JOBS}/job_1/events", {"headers": {"Last-Event-ID": "x"}}, 400),
    ],
)
def test_refusal_fits_the_document_and_its_detail_is_a_sentence(api, method, path, options, status):
    response = api.http.request(method, path, **options)

    assert response.status_code == status
    problem = response.json()
    assert problem["detail"].endswith(".")
    assert f"`{problem['field']}`" in problem["detail"] if "field" in problem else True


def test_conflict_fits_the_document(api):
    key = {"Idempotency-Key": "k"}
    job = api.submit("One", headers=key).json()

    assert api.submit("Two", headers=key).status_code == 422
    api.end_of(job["id"])
    assert api.cancel(job["id"]).status_code == 409
