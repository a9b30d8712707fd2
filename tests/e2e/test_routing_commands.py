"""What `aether routing` has to do with a real stack: its finished jobs, and its router's file."""

from __future__ import annotations

import re

import pytest

from core.routing_rules import RULES_FILE
from ops.stack.running import command_settings
from storage.connections import close_all, mongo_database
from tests.api_client import ApiClient
from tests.services import start_stub, wait_until
from tests.stack import RunningStack

pytestmark = pytest.mark.e2e

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
    options = ("--no-sample", "--no-flower", "--workers", "1")
    with RunningStack(root, *options, **settings) as running:
        yield running


@pytest.fixture
def database(stack, upstream):
    settings = command_settings(stack.directory)
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


def test_of_finished_jobs_only_fresh_answers_without_history_are_compared(
    api, database, quick, stack
):
    quick(f"Is this a talk? {TIE}", conversation_id="talk")
    api.ask(f"Is this the deep model's own? {TIE}", tier="standard")
    first = quick(f"Is this repeated? {TIE}")
    quick(f"Is this repeated? {TIE}")

    shown = stack.aether("routing", "evaluate", "--budget-usd", "1")

    assert "1 answers of 30 days can be compared" in shown.stdout, shown.stderr
    (found,) = database["comparisons"].find()
    assert (found["_id"], found["verdict"]) == (first["id"], "tie")
    assert found["cost_micros"] == round(first["cost"]["usd"] * 1e6)
    assert api.job(first["id"]) == first


def test_the_router_uses_the_file_that_the_setting_names(api):
    job = api.ask("Hello there!")

    assert job["route"]["score"] > 0.98
    assert job["route"]["tier"] == "standard"
