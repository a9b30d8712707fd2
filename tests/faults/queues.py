"""The broker's queues and what the sweeper watches, as tests read and change them."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from storage import keys
from workers import names

WORKERS = ("worker-1", "worker-2")


def make_due(redis: Redis, job_ids: Sequence[str]) -> None:
    """Have the sweeper look at these accepts now, which it would leave alone for ten seconds."""
    for job_id in job_ids:
        redis.zadd(keys.WATCH, {job_id: 1}, xx=True)


def is_drained(redis: Redis, delivery_tags: Sequence[str] = ()) -> bool:
    """Say whether no message waits, and of the given ones none is unacknowledged."""
    is_taken = not any(redis.llen(queue) for queue in names.QUEUES)
    return is_taken and not any(redis.hexists("unacked", tag) for tag in delivery_tags)
