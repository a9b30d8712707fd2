"""Teams whose workers die, whose chord is lost, and whose messages come twice."""

from __future__ import annotations

import pytest

from ops.drills.faults import frozen, kill
from storage import keys
from tests.api_client import text_of
from tests.faults.queues import WORKERS
from tests.services import wait_until
from workers import names

pytestmark = pytest.mark.faults

THREE = ["dev", "sage", "luna"]


@pytest.fixture
def user(crowd):
    """A user whose jobs are looked after by the crowd."""
    (job_id,) = crowd.submit(1)
    return crowd.owner(job_id)


@pytest.fixture
def submit(crowd, user):
    """Return what has a team's job accepted, as one of the crowd's."""

    def submit(message, **fields):
        answer = user.submit(message, path="multi-agent", **({"agents": THREE} | fields))
        assert answer.status_code == 202, answer.text
        return crowd.adopt(answer.json()["id"], user)

    return submit


def state_of(redis, job_id, slot):
    found = redis.hget(keys.job(job_id), f"{slot}:state")
    return found.decode() if found else None


def started(events, agent):
    return sum(e["type"] == "agent.started" and e["data"]["agent"] == agent for e in events)


def test_finished_agents_are_not_asked_again_when_workers_die_in_a_turn(
    target, redis, submit, user, settle, upstream
):
    job_id = submit("Hi [[stub@luna:tokens=60 gap_ms=50]]")
    wait_until(
        lambda: [state_of(redis, job_id, f"1.{name}") for name in ("dev", "sage")] == ["done"] * 2,
        20,
        "two agents to be through",
    )

    kill(target, *WORKERS)
    ended = settle()

    events = user.events(job_id)
    assert ended[job_id] == "completed"
    assert [started(events, name) for name in THREE] == [1, 1, 2]
    retrying = next(event["data"] for event in events if event["type"] == "job.retrying")
    assert (retrying["agent"], retrying["reason"]) == ("luna", "worker_lost")
    assert user.job(job_id)["degraded"] is False


def test_job_ends_when_its_chord_is_lost_between_header_and_body(redis, submit, user, settle):
    job_id = submit("Hi [[stub:first_ms=600]]")
    wait_until(lambda: state_of(redis, job_id, "1.luna") == "running", 60, "the agents to begin")
    for key in redis.scan_iter("celery-taskset-meta-*"):
        redis.delete(key)

    ended = settle()

    assert ended[job_id] == "completed"
    assert user.job(job_id)["synthesis"]["status"] == "completed"


def test_synthesis_begins_again_when_workers_die_in_it(target, redis, submit, user, settle):
    job_id = submit("Hi [[stub@synthesis:tokens=60 gap_ms=50]]")
    wait_until(lambda: state_of(redis, job_id, "1.end") == "running", 60, "the synthesis")
    wait_until(
        lambda: any(e["type"] == "answer.delta" for e in user.job(job_id, after=0)["events"]),
        20,
        "its first words",
    )

    kill(target, *WORKERS)
    ended = settle()

    events = user.events(job_id)
    assert ended[job_id] == "completed"
    assert [started(events, name) for name in THREE] == [1, 1, 1]
    assert sum(event["type"] == "synthesis.started" for event in events) == 2
    assert text_of(events) == user.job(job_id)["answer"]["text"]


def test_agent_fails_alone_when_its_worker_dies_each_time(target, redis, submit, user, settle):
    job_id = submit("Hi [[stub@luna:stall_before]]")
    for attempt in ("1", "2", "3"):
        wait_until(
            lambda n=attempt: (redis.hget(keys.job(job_id), "1.luna:attempt") or b"").decode() == n,
            30,
            f"attempt {attempt}",
        )
        kill(target, *WORKERS)

    ended = settle()

    job = user.job(job_id)
    fate = {agent["name"]: agent["error"] for agent in job["agents"]}
    assert (ended[job_id], job["degraded"]) == ("completed", True)
    assert fate["luna"]["code"] == "worker_lost"
    assert fate["dev"] is fate["sage"] is None


def test_nothing_is_done_twice_when_every_header_comes_twice(target, redis, submit, user, settle):
    job_id = submit("Hi [[stub:first_ms=200]]")
    wait_until(lambda: redis.hexists(keys.job(job_id), "slots"), 60, "the chord")
    with frozen(target, *WORKERS):
        for queue in (names.AGENT_QUEUE, names.FINISH_QUEUE):
            for message in redis.lrange(queue, 0, -1):
                redis.lpush(queue, message)

    ended = settle()

    events = user.events(job_id)
    assert ended[job_id] == "completed"
    assert [started(events, name) for name in THREE] == [1, 1, 1]
    assert sum(event["type"] == "synthesis.started" for event in events) == 1


def test_job_ends_when_redis_restarts_while_agents_report(target, redis, submit, user, settle):
    job_ids = [submit(f"Hi {n} [[stub:first_ms={200 * n}]]") for n in range(1, 4)]
    wait_until(lambda: state_of(redis, job_ids[0], "1.luna") == "done", 60, "the first report")

    kill(target, "redis")
    ended = settle(90)

    assert {ended[job_id] for job_id in job_ids} == {"completed"}


def test_sweeper_reports_for_agents_when_no_worker_is_left(stack, redis, submit, user, settle):
    job_id = submit("Hi [[stub:stall_before]]", agent_deadline_s=6.0)
    wait_until(lambda: state_of(redis, job_id, "1.luna") == "running", 60, "the agents to begin")
    for name in WORKERS:
        stack.kill_program(name)
        stack.supervisor.stop(name, 30)

    def is_reported():
        return all(state_of(redis, job_id, f"1.{name}") == "done" for name in THREE)

    wait_until(is_reported, 60, "the sweeper to report for the agents")
    for name in WORKERS:
        stack.supervisor.start(name)
    ended = settle()

    job = user.job(job_id)
    assert (ended[job_id], job["error"]["code"]) == ("failed", "quorum_not_met")
    assert {agent["error"]["code"] for agent in job["agents"]} == {"deadline_exceeded"}
