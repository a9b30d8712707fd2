"""Cheaper answers that are compared with the deep tier's in the background."""

from __future__ import annotations

import httpx
import pytest

from core.settings import Settings
from ops.stack.resolve import running_settings
from storage.connections import close_all, mongo_database
from tests.api_client import ApiClient
from tests.services import start_stub, wait_until
from tests.stack import RunningStack

pytestmark = pytest.mark.e2e

#: The deep tier's answer is in the second place first, and then in the first.
DEEP_WINS = "[[stub@judge:say=first]] [[stub@judge:once say=second]]"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """A stub of its own: calls that nobody waits for would disturb the counts of other tests."""
    server = start_stub(tmp_path_factory.mktemp("stub"), first_token_ms=5)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def run_stack(tmp_path_factory, upstream):
    running = []

    def run(**settings):
        root = tmp_path_factory.mktemp("s") / "v"
        parts = {"AETHER_LLM_URL": upstream.url, "AETHER_SHADOW_SHARE": "1"} | settings
        running.append(RunningStack(root, "--no-sample", "--no-flower", "--workers", "1", **parts))
        return running[-1]

    yield run
    for stack in running:
        stack.stop()


@pytest.fixture(scope="module")
def stack(run_stack):
    return run_stack()


@pytest.fixture
def database(stack, upstream):
    settings = running_settings(Settings(llm_url=upstream.url), stack.directory)
    database = mongo_database(settings)
    database["shadow"].delete_many({})
    yield database
    close_all(database)


@pytest.fixture
def api(stack):
    client = ApiClient(stack.url)
    yield client
    client.close()


def quick(api, message, **fields):
    headers = {"Prefer": "wait=60"}
    return api.submit(message, path="quick", headers=headers, **fields).json()


def calls_of(upstream):
    return httpx.get(f"{upstream.url}/stub/stats").json()["requests"]


def compared(database, job):
    wait_until(lambda: database["shadow"].find_one({"_id": job["id"]}), 20, "a comparison")
    return database["shadow"].find_one({"_id": job["id"]})


def row_of(stack):
    shown = stack.aether("routing")
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_quick_answer_is_compared_stored_and_shown(api, database, stack, upstream):
    before = calls_of(upstream)
    question = f"Which is the deeper one? {DEEP_WINS}"

    job = quick(api, question)
    found = compared(database, job)

    assert job["status"] == "completed"
    assert calls_of(upstream) - before == 4
    assert (found["tier"], found["verdict"]) == ("quick", "worse")
    assert (found["model"], found["deep_model"]) == ("openai/gpt-oss-20b", "openai/gpt-oss-120b")
    assert found["cost_micros"] == round(job["cost"]["usd"] * 1e6)
    assert found["deep_cost_micros"] > found["cost_micros"]
    assert found["judging_cost_micros"] > 0
    assert question not in str(found)
    assert "deeper" not in str(found)
    assert api.job(job["id"]) == job
    assert "100.0%" in row_of(stack)


def test_verdict_is_a_tie_when_the_judge_prefers_a_place(api, database, stack):
    job = quick(api, "Which place is it? [[stub@judge:say=second]]")

    assert compared(database, job)["verdict"] == "tie"
    assert "0.0%" in row_of(stack)


def test_nothing_is_stored_when_the_judge_says_no_verdict(api, database, upstream):
    before = calls_of(upstream)
    quick(api, "Which is it? [[stub@judge:say=I_cannot_tell]]")
    wait_until(lambda: calls_of(upstream) - before == 3, 20, "the judge to be asked")

    # Behind it in the queue: when this one is there, the other would be, too.
    compared(database, quick(api, "And which now? [[stub@judge:say=tie]]"))

    assert database["shadow"].count_documents({}) == 1


def test_other_jobs_are_left_alone(api, database, upstream):
    before = calls_of(upstream)
    quick(api, "Is this a talk? [[stub@judge:say=tie]]", conversation_id="talk")
    api.ask("Is this the deep model's own? [[stub@judge:say=tie]]")
    first = quick(api, "Is this repeated? [[stub@judge:say=tie]]")
    quick(api, "Is this repeated? [[stub@judge:say=tie]]")

    compared(database, first)

    assert [found["_id"] for found in database["shadow"].find()] == [first["id"]]
    assert calls_of(upstream) - before == 3 + 3


def test_nothing_is_called_when_there_is_no_budget(run_stack, upstream):
    stack = run_stack(AETHER_SHADOW_DAILY_USD="0")
    api = ApiClient(stack.url)
    before = calls_of(upstream)

    quick(api, "Is there a budget? [[stub@judge:say=tie]]")

    refused = "the day's budget is used up"
    wait_until(lambda: refused in stack.directory.log_of("worker-1").read_text(), 20, "a refusal")
    assert calls_of(upstream) - before == 1
    assert "Nothing was compared" in row_of(stack)
    api.close()
