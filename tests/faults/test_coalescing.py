"""Jobs that ask the same at once, and the process that answers for all of them."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.drills.faults import kill
from tests.api_client import ApiClient, text_of
from tests.faults.queues import WORKERS
from tests.services import wait_until

pytestmark = pytest.mark.faults


@pytest.fixture
def ask(crowd):
    """Return what has the same question asked several times by one user."""

    def ask(question, times):
        (first,) = crowd.submit(1)
        user = crowd.owner(first)
        ids = [user.submit(question).json()["id"] for _ in range(times)]
        return user, [crowd.adopt(job_id, user) for job_id in ids]

    return ask


@pytest.fixture
def enterprise(stack, mongo):
    """A user who may have a thousand jobs at once, as two API processes and two workers see it."""
    user = ApiClient(stack.url)
    token = user.http.headers["Authorization"].split(".")[1]
    user_id = json.loads(base64.urlsafe_b64decode(token + "=="))["sub"]
    mongo["users"].update_one({"_id": user_id}, {"$set": {"plan": "enterprise"}})
    yield user
    user.close()


@pytest.mark.parametrize("times", [60, pytest.param(1_000, marks=pytest.mark.long)])
def test_one_call_answers_all_when_many_ask_at_once(times, crowd, enterprise, settle, upstream):
    question = f"Who of {times}? [[stub:tokens=40 gap_ms=50]]"
    with ThreadPoolExecutor(16) as pool:
        submitted = list(pool.map(lambda _: enterprise.submit(question).json(), range(times)))
    ids = [crowd.adopt(job["id"], enterprise) for job in submitted]

    ended = settle(120)

    assert set(ended.values()) == {"completed"}
    assert upstream()["requests"] == 1
    jobs = crowd.jobs(ids)
    assert len({job["answer"]["text"] for job in jobs}) == 1
    assert sum(job["cost"]["usd"] > 0 for job in jobs) == 1


def text(user, job_id):
    return text_of(user.job(job_id, after=0)["events"])


def test_another_leads_when_the_leader_is_killed(target, ask, settle, upstream):
    user, ids = ask("Who leads? [[stub:tokens=60 gap_ms=50]]", 6)
    wait_until(lambda: any(text(user, job_id) for job_id in ids), 60, "the leader's text")
    before = upstream()["requests"]

    kill(target, *WORKERS)
    ended = settle()

    assert {ended[job_id] for job_id in ids} == {"completed"}
    jobs = [user.job(job_id) for job_id in ids]
    assert len({job["answer"]["text"] for job in jobs}) == 1
    assert all(text_of(user.events(job["id"])) == job["answer"]["text"] for job in jobs)
    assert upstream()["requests"] == before + 1
    assert sum(job["cost"]["usd"] > 0 for job in jobs) == 1


def test_followers_end_with_their_leader_when_redis_restarts(stack, ask, settle, upstream):
    user, ids = ask("Who waits? [[stub:tokens=60 gap_ms=50]]", 4)
    wait_until(lambda: any(text(user, job_id) for job_id in ids), 60, "the leader's text")

    stack.kill_program("redis")
    ended = settle()

    assert {ended[job_id] for job_id in ids} == {"completed"}
    assert len({user.job(job_id)["answer"]["text"] for job_id in ids}) == 1
