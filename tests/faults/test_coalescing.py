"""Jobs that ask the same at once, and the process that answers for all of them."""

from __future__ import annotations

import pytest

from tests.api_client import text_of
from tests.services import wait_until

pytestmark = pytest.mark.faults

WORKERS = ("worker-1", "worker-2")


@pytest.fixture
def ask(crowd):
    """Return what has the same question asked several times by one user."""

    def ask(question, times):
        (first,) = crowd.submit(1)
        user = crowd.owner(first)
        ids = [user.submit(question).json()["id"] for _ in range(times)]
        return user, [crowd.adopt(job_id, user) for job_id in ids]

    return ask


def heard(user, job_id):
    return text_of(user.job(job_id, after=0)["events"])


def test_another_leads_when_the_leader_is_killed(stack, ask, settle, upstream):
    user, ids = ask("Who leads? [[stub:tokens=60 gap_ms=50]]", 6)
    wait_until(lambda: all(heard(user, job_id) for job_id in ids), 20, "all to hear something")
    before = upstream()["requests"]

    for name in WORKERS:
        stack.kill_program(name)
    ended = settle(60)

    assert {ended[job_id] for job_id in ids} == {"completed"}
    jobs = [user.job(job_id) for job_id in ids]
    assert len({job["answer"]["text"] for job in jobs}) == 1
    assert all(text_of(user.events(job["id"])) == job["answer"]["text"] for job in jobs)
    assert upstream()["requests"] == before + 1
    assert sum(job["cost"]["usd"] > 0 for job in jobs) == 1


def test_followers_end_with_their_leader_when_redis_restarts(stack, ask, settle, upstream):
    user, ids = ask("Who waits? [[stub:tokens=60 gap_ms=50]]", 4)
    wait_until(lambda: all(heard(user, job_id) for job_id in ids), 20, "all to hear something")

    stack.kill_program("redis")
    ended = settle(60)

    assert {ended[job_id] for job_id in ids} == {"completed"}
    assert len({user.job(job_id)["answer"]["text"] for job_id in ids}) == 1
