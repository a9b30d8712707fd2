"""What jobs may cost, on a running stack: never more than their limits, whatever they need."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.plans import PLANS
from ops.stack.running import command_settings
from storage import keys
from storage.connections import redis_client

pytestmark = pytest.mark.e2e

BUDGET = PLANS["trial"].monthly_budget_micros
#: A token of the standard tier's output costs 0.6 micro-dollars.
TOKEN_MICROS = 0.6


@pytest.fixture
def month(api, stack):
    """The sums of the user's month."""
    redis = redis_client(command_settings(stack.directory))
    user_id = api.id
    api.ask("What is a queue?")
    name = keys.spend(user_id, int(time.time() * 1000))
    yield lambda **fields: redis.hset(name, mapping=fields) if fields else redis.hgetall(name)
    redis.close()


def spent(month):
    return int(month()[b"spent"])


def test_a_job_ends_with_what_exists_when_its_budget_is_gone(api, month):
    month(spent=BUDGET - 600)

    job = api.ask("[[stub:tokens=4000 gap_ms=1]]", tier="standard", max_tokens=4096)

    assert (job["status"], job["error"]["code"]) == ("incomplete", "budget_exhausted")
    assert 0 < job["usage"]["output_tokens"] < 2_000
    assert job["answer"]["text"].startswith("token-1 token-2 ")
    assert spent(month) <= BUDGET + 256 * TOKEN_MICROS


def test_a_job_is_refused_when_not_even_its_prompt_is_covered(api, month):
    month(spent=BUDGET - 1)

    refused = api.submit("What is a queue?" + "?" * 10_000, tier="standard")

    assert (refused.status_code, refused.json()["code"]) == (429, "budget_exhausted")
    assert refused.json()["limit"] == "monthly_budget"


def test_many_at_once_do_not_spend_more_than_the_budget(api, month):
    month(spent=BUDGET - 3_000)

    def ask(_):
        answer = api.submit(
            "[[stub:tokens=1200 gap_ms=1]]",
            headers={"Prefer": "wait=60"},
            tier="standard",
            max_tokens=2_000,
            cache={"mode": "bypass"},
        )
        return answer.json().get("status") or answer.json()["code"]

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(ask, range(8)))

    assert set(ends) <= {"completed", "incomplete", "budget_busy", "budget_exhausted"}
    assert spent(month) <= BUDGET + 8 * 256 * TOKEN_MICROS
    assert int(month()[b"reserved"]) == 0


def test_history_counts_before_a_call(api):
    for turn in range(6):
        api.ask(f"{turn} " + "word " * 5_000, conversation_id="long", tier="standard")

    job = api.ask("And now?", conversation_id="long", tier="quick", max_cost_usd=0.001)

    assert job["error"]["code"] == "cost_limit_reached"
    assert job["status"] == "incomplete"
    assert job["cost"]["usd"] <= 0.001


def test_retries_count_before_the_next_call(api):
    question = "word " * 300 + "[[stub:tokens=900 cut_after=800]]"

    job = api.ask(question, tier="quick", max_tokens=1_000, max_cost_usd=0.0006)

    # The first call was cut off after 800 tokens; the next may say what is left of the limit.
    assert job["usage"]["output_tokens"] > 800
    assert job["cost"]["usd"] <= 0.0006


def test_exactly_as_many_jobs_are_unfinished_as_allowed_when_a_hundred_come_at_once(api):
    def submit(number):
        return api.submit(f"{number} [[stub:stall_before=60]]", cache={"mode": "bypass"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(submit, range(100)))

    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(accepted), len(refused)) == (10, 90)
    assert {answer.json()["limit"] for answer in refused} == {"unfinished"}
    assert all("Retry-After" in answer.headers for answer in refused)
    for job_id in accepted:
        api.cancel(job_id)
        api.end_of(job_id)
