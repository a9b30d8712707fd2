"""`aether routing` on a real stack: comparisons of finished answers, and weights of its own."""

from __future__ import annotations

import re

import httpx
import pytest

from core.routing_rules import RULES_FILE
from core.settings import Settings
from ops.stack.resolve import running_settings
from storage.connections import close_all, mongo_database
from tests.api_client import ApiClient
from tests.services import start_stub, wait_until
from tests.stack import RunningStack

pytestmark = pytest.mark.e2e

#: The deep tier's answer is in the second place first, and then in the first.
DEEP_WINS = "[[stub@judge:say=first]] [[stub@judge:once say=second]]"
TIE = "[[stub@judge:say=tie]]"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """A stub of its own, whose calls are all of this module's stack."""
    server = start_stub(tmp_path_factory.mktemp("stub"), first_token_ms=5)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory, upstream):
    """A stack whose router finds every question hard."""
    own = tmp_path_factory.mktemp("own") / "routing.toml"
    own.write_text(re.sub(r"(?m)^bias = .*", "bias = 5.0", RULES_FILE.read_text()))
    settings = {"AETHER_LLM_URL": upstream.url, "AETHER_ROUTING_FILE": str(own)}
    root = tmp_path_factory.mktemp("s") / "v"
    running = RunningStack(root, "--no-sample", "--no-flower", "--workers", "1", **settings)
    yield running
    running.destroy()


@pytest.fixture
def database(stack, upstream):
    settings = running_settings(Settings(llm_url=upstream.url), stack.directory)
    database = mongo_database(settings)
    database["jobs"].delete_many({})
    database["comparisons"].delete_many({})
    yield database
    close_all(database)


@pytest.fixture
def api(stack):
    client = ApiClient(stack.url)
    yield client
    client.close()


@pytest.fixture
def quick(api, database):
    """Returns a finished job of the quick route whose end is on record."""

    def ask(message, **fields):
        headers = {"Prefer": "wait=60"}
        job = api.submit(message, path="quick", headers=headers, **fields).json()
        wait_until(
            lambda: database["jobs"].find_one({"_id": job["id"], "status": "completed"}),
            20,
            "the job's record",
        )
        return job

    return ask


def calls_of(upstream):
    return httpx.get(f"{upstream.url}/stub/stats").json()["requests"]


def routing(stack, *words):
    shown = stack.aether("routing", *words)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_a_quick_answer_is_compared_once_stored_and_reported(api, database, quick, stack, upstream):
    question = f"Which is the deeper one? {DEEP_WINS}"
    job = quick(question)
    before = calls_of(upstream)

    shown = routing(stack, "evaluate", "--budget-usd", "1")
    again = routing(stack, "evaluate", "--budget-usd", "1")

    assert "Compared: 1 of 1." in shown
    assert "0 answers of 30 days can be compared" in again
    assert calls_of(upstream) - before == 3
    found = database["comparisons"].find_one({"_id": job["id"]})
    assert (found["tier"], found["verdict"]) == ("quick", "worse")
    assert (found["model"], found["deep_model"]) == ("openai/gpt-oss-20b", "openai/gpt-oss-120b")
    assert found["cost_micros"] == round(job["cost"]["usd"] * 1e6)
    assert found["deep_cost_micros"] > found["cost_micros"]
    assert found["judging_cost_micros"] > 0
    assert "deeper" not in str(found)
    assert api.job(job["id"]) == job
    assert "100.0%" in routing(stack, "report")


def test_only_fresh_answers_of_one_agent_without_history_are_compared(api, database, quick, stack):
    quick(f"Is this a talk? {TIE}", conversation_id="talk")
    api.ask(f"Is this the deep model's own? {TIE}", tier="standard")
    first = quick(f"Is this repeated? {TIE}")
    quick(f"Is this repeated? {TIE}")

    assert "1 answers of 30 days can be compared" in routing(stack, "evaluate", "--budget-usd", "1")

    assert [found["_id"] for found in database["comparisons"].find()] == [first["id"]]


def test_nothing_is_called_when_the_budget_does_not_hold_a_comparison(
    database, quick, stack, upstream
):
    quick(f"Is there a budget? {TIE}")
    before = calls_of(upstream)

    shown = routing(stack, "evaluate", "--budget-usd", "0.001")

    assert "The budget is used up. Not tried: 1." in shown
    assert "Compared: 0 of 1. Spent: $0.000000." in shown
    assert calls_of(upstream) == before
    assert "Nothing was compared" in routing(stack, "report")


def test_no_weights_are_written_when_there_are_too_few_labels(quick, stack, tmp_path):
    quick(f"Is this enough? {TIE}")
    routing(stack, "evaluate", "--budget-usd", "1")
    out = tmp_path / "own.toml"

    refused = stack.aether("routing", "fit", "--out", str(out))

    assert refused.returncode == 1
    assert "there are 1 and 0" in refused.stderr
    assert not out.exists()


def test_the_router_uses_the_file_that_the_setting_names(api):
    job = api.ask("Hello there!")

    assert job["route"]["score"] > 0.98
    assert job["route"]["tier"] == "standard"
