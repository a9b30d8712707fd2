"""Messages that are none, tasks that nobody knows, a job that kills whoever takes it."""

from __future__ import annotations

import json
import uuid
from base64 import b64encode

import pytest

from core.ids import new_job_id, new_user_id
from ops.drills.faults import kill
from tests.api_client import text_of
from tests.faults.queues import WORKERS, is_drained
from tests.services import wait_until
from workers import names

pytestmark = pytest.mark.faults


NOTHING = object()


def to_body(arguments):
    return b64encode(json.dumps([arguments, {}, {}]).encode()).decode()


def message(**fields):
    """Return a message as kombu lays it down, with `fields` in place of its own."""
    tag = str(uuid.uuid4())
    info = {"exchange": names.RUN_QUEUE, "routing_key": names.RUN_QUEUE}
    whole = {
        "body": to_body([new_job_id(new_user_id())]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": names.RUN_CHAT, "id": tag, "lang": "py"},
        "properties": {"delivery_tag": tag, "delivery_info": info, "body_encoding": "base64"},
    }
    return json.dumps({k: v for k, v in (whole | fields).items() if v is not NOTHING})


POISON = {
    "bytes": b"\xff\xfe\x00 not a message",
    "text": b"hello",
    "a list": b"[]",
    "nothing inside": b"{}",
    "no properties": message(properties=NOTHING),
    "no delivery tag": message(properties={}),
    "no headers": message(headers=NOTHING),
    "headers that say nothing": message(headers={}),
    "no body": message(body=None),
    "a body that is not base64": message(body="%%%"),
    "a body that is not text": message(body="/////w=="),
    "a body that is not JSON": message(headers={}, body=b64encode(b"{not json").decode()),
    "pickle": message(**{"content-type": "application/x-python-serialize"}),
    "unknown task": message(headers={"task": "chat.unheard_of", "id": "1", "lang": "py"}),
}

HARMLESS = {
    "no arguments": [],
    "an unknown job": [new_job_id(new_user_id())],
    "no id of a job": ["../../etc/passwd"],
    "a number": [7],
}


def refusals(stack):
    """Return the log lines of all workers that tell of a message they dropped."""
    logs = [stack.directory.log_of(name).read_text().splitlines() for name in WORKERS]
    lines = [line for log in logs for line in log if '"message refused"' in line]
    return [json.loads(line)["reason"] for line in lines]


def test_other_jobs_run_on_and_each_refusal_is_logged_when_queues_are_poisoned(
    stack, crowd, redis, settle
):
    pids = {name: stack.programs[name].pid for name in WORKERS}
    before = len(refusals(stack))
    job_ids = crowd.submit(10, "tokens=20 gap_ms=50")
    wait_until(lambda: crowd.answering(job_ids) == 10, 60, "answers to begin")

    for poison in POISON.values():
        redis.lpush(names.RUN_QUEUE, poison)
    job_ids += crowd.submit(10)

    assert settle() == dict.fromkeys(job_ids, "completed")
    wait_until(
        lambda: is_drained(redis) and len(refusals(stack)) == before + len(POISON),
        *(60, "the poison to be gone and told of"),
    )
    assert {name: stack.programs[name].pid for name in WORKERS} == pids
    assert {job["attempt"] for job in crowd.jobs(job_ids)} == {1}


@pytest.mark.parametrize("arguments", HARMLESS.values(), ids=list(HARMLESS))
def test_nothing_happens_when_a_message_is_of_no_job(arguments, stack, redis, settle):
    before = len(refusals(stack))

    sent = message(body=to_body(arguments))
    redis.lpush(names.RUN_QUEUE, sent)

    tags = [json.loads(sent)["properties"]["delivery_tag"]]
    wait_until(lambda: is_drained(redis, tags), 60, "the message to be done with")
    assert len(refusals(stack)) == before
    settle()


def test_job_becomes_a_dead_letter_and_no_other_when_it_kills_whoever_takes_it(
    stack, target, crowd, settle
):
    (poison,) = crowd.submit(1, "tokens=20 stall_after=2")
    others = []
    for attempt in (1, 2, 3):
        fresh = crowd.submit(10)
        others += fresh
        wait_until(lambda n=attempt: has_spoken(crowd, poison, n), 60, f"attempt {attempt}")
        wait_until(lambda ids=fresh: crowd.are_over(ids), 60, "the other jobs' ends")
        kill(target, *WORKERS)

    assert settle() == dict.fromkeys(others, "completed") | {poison: "failed"}
    dead = crowd.owner(poison).job(poison)
    assert (dead["error"]["code"], dead["attempt"]) == ("worker_lost", 3)
    assert {job["attempt"] for job in crowd.jobs(others)} == {1}
    listed = stack.aether("dead-letters").stdout
    assert poison in listed
    assert not any(job_id in listed for job_id in others)


def has_spoken(crowd, job_id, attempt):
    job = crowd.owner(job_id).job(job_id, after=0)
    return job["attempt"] == attempt and text_of(job["events"]) == "token-1 token-2 "
