"""Messages are hints: one that is lost is sent again, one that comes twice changes nothing."""

from __future__ import annotations

import json
import uuid

import pytest

from ops.drills.faults import stopped
from tests.faults.queues import WORKERS, is_drained
from tests.services import wait_until
from workers import names

pytestmark = pytest.mark.faults


def test_jobs_are_begun_when_every_wake_up_is_lost(target, crowd, redis, settle):
    with stopped(target, *WORKERS):
        job_ids = crowd.submit(10)
        wait_until(lambda: redis.llen(names.RUN_QUEUE), 60, "the wake-ups")
        redis.delete(names.RUN_QUEUE)

    assert settle() == dict.fromkeys(job_ids, "completed")


def test_upstream_is_called_once_a_job_when_every_message_comes_many_times(
    target, crowd, redis, upstream, settle
):
    with stopped(target, *WORKERS):
        job_ids = crowd.submit(10, "tokens=20 gap_ms=50")
        messages = redis.lrange(names.RUN_QUEUE, 0, -1)
        deliver_again(redis, messages)
    wait_until(lambda: crowd.answering(job_ids) == 10, 60, "answers to begin")

    deliver_again(redis, messages)
    ended = settle()
    tags = deliver_again(redis, messages)
    wait_until(lambda: is_drained(redis, tags), 60, "the repeats to be taken")

    assert ended == settle() == dict.fromkeys(job_ids, "completed")
    assert upstream()["requests"] == 10


def deliver_again(redis, messages):
    """Put each message on the queue twice more, as other deliveries; return their tags."""
    tags = []
    for raw in messages * 2:
        message = json.loads(raw)
        tags.append(str(uuid.uuid4()))
        message["properties"]["delivery_tag"] = tags[-1]
        redis.lpush(names.RUN_QUEUE, json.dumps(message))
    return tags
