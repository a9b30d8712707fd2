"""A job that kills every worker that takes it, and what an operator can do about it."""

from __future__ import annotations

import pytest

from tests.api_client import TERMINAL, text_of
from tests.services import wait_until

pytestmark = pytest.mark.e2e

THREE_TOKENS = "token-1 token-2 token-3 "


@pytest.fixture
def dead(api, stack):
    """A job that lost its worker three times."""
    job_id = api.submit("[[stub:tokens=5 stall_after=3]]").json()["id"]
    for attempt in (1, 2, 3):
        wait_until(lambda attempt=attempt: has_text(api, job_id, attempt), 30, f"try {attempt}")
        for name in [name for name in stack.programs if name.startswith("worker-")]:
            stack.kill_program(name)
    return api.end_of(job_id, timeout_s=40)


def has_text(api, job_id, attempt):
    job = api.job(job_id, after=0)
    started = [e["data"]["attempt"] for e in job["events"] if e["type"] == "job.started"]
    return attempt in started and text_of(job["events"]) == THREE_TOKENS


def test_job_is_listed_and_gets_another_chance_when_it_lost_three_workers(api, stack, dead):
    assert (dead["status"], dead["attempt"]) == ("failed", 3)
    assert dead["error"]["code"] == "worker_lost"
    assert dead["answer"]["text"] == THREE_TOKENS
    assert dead["cost"]["usd"] > 0

    wait_until(lambda: dead["id"] in stack.aether("dead-letters").stdout, 15, "the record")
    requeued = [stack.aether("requeue", dead["id"]) for _ in range(2)]

    assert [answer.returncode for answer in requeued] == [0, 0]
    assert requeued[0].stdout == requeued[1].stdout
    new = next(job for job in api.http.get("/api/ai/v4/jobs").json()["data"])
    assert new["metadata"] == {"requeued_from": dead["id"]}
    wait_until(lambda: api.job(new["id"])["status"] == "in_progress", 30, "its dispatch")
    api.cancel(new["id"])
    assert api.end_of(new["id"])["status"] in TERMINAL
    assert api.job(dead["id"])["status"] == "failed"


def test_only_a_dead_letter_can_be_requeued(api, stack):
    job = api.ask("Hi")

    refused = stack.aether("requeue", job["id"])

    assert refused.returncode == 1
    assert "There is no dead letter" in refused.stderr
