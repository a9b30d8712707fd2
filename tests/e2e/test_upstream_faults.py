"""What users see when the model's provider fails."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
import pytest

from tests.api_client import text_of
from tests.services import wait_until

pytestmark = pytest.mark.e2e

TEN_TOKENS = "".join(f"token-{n} " for n in range(1, 11))


@pytest.mark.parametrize("fault", ["500", "503", "498", "cut_after=3", "error_after=3"])
def test_answer_is_whole_when_the_provider_failed_once(api, fault):
    job = api.ask(f"{fault} please [[stub:once {fault}]]")

    assert (job["status"], job["attempt"]) == ("completed", 1)
    assert job["answer"]["text"] == TEN_TOKENS == text_of(api.events(job["id"]))


def test_both_calls_are_paid_when_the_first_broke_off(api):
    whole = api.ask("How much is it?")

    broken = api.ask("How much is it? [[stub:once cut_after=5]]")

    assert broken["usage"]["output_tokens"] > whole["usage"]["output_tokens"]


def test_other_model_answers_and_the_job_says_so_when_the_first_is_gone(api):
    job = api.ask("Where is it? [[stub:once 404]]")

    assert job["status"] == "completed"
    assert job["agents"][0]["model"] == job["route"]["model"] == "openai/gpt-oss-20b"
    assert "fallback from openai/gpt-oss-120b" in job["route"]["reason"]
    routes = [e["data"]["model"] for e in api.events(job["id"]) if e["type"] == "route.selected"]
    assert routes == ["openai/gpt-oss-120b", "openai/gpt-oss-20b"]


def test_job_waits_its_time_in_the_queue_when_the_provider_names_one(api, stub_server):
    job_id = api.submit("Later [[stub:once 429 retry_after=4]]").json()["id"]

    job = api.end_of(job_id)

    assert (job["status"], job["attempt"]) == ("completed", 1)
    events = api.events(job_id)
    started, retrying, text = (
        next(event for event in events if event["type"] == type_)
        for type_ in ("job.started", "job.retrying", "answer.delta")
    )
    assert retrying["data"]["reason"] == "model_rate_limited"
    assert retrying["data"]["retry_after_s"] == 4.0
    assert at(text) - at(started) >= timedelta(seconds=4)
    stats = f"{stub_server.url}/stub/stats"
    wait_until(lambda: httpx.get(stats).json()["in_flight"] == 0, 20, "the calls to be over")


def at(event):
    return datetime.fromisoformat(event["at"])


def test_job_fails_with_the_reason_when_the_provider_keeps_failing(api):
    job = api.ask("[[stub:garbage_after=2]]")

    assert (job["status"], job["error"]["code"]) == ("failed", "model_unavailable")
    assert job["answer"]["text"] == text_of(api.events(job["id"]))
