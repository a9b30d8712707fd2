"""Where work stands according to Redis itself, and what of that cannot be."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from storage import keys

if TYPE_CHECKING:
    from redis import Redis

#: What may stay when nobody's work is left.
KEPT = ("clock", "shares:", "starts:", "closed", "waiters", "bell", "turn:")


def units_in_lines(redis: Redis) -> dict[str, tuple[str, str, str]]:
    """Return the lane, user and key of each unit that stands in a line; each stands in one."""
    found = {}
    for line in redis.smembers(f"{keys.LINES}all"):
        name = line.decode()
        lane, user, key = name.split(" ", 2)
        units = redis.zrange(f"{keys.LINES}units:{lane}:{user}:{key}", 0, -1)
        assert units, f"{name} is empty"
        for unit in units:
            assert unit.decode() not in found
            found[unit.decode()] = lane, user, key
    return found


def running_units(redis: Redis) -> set[str]:
    return members(redis, f"{keys.LINES}running:*")


def members(redis: Redis, pattern: str) -> set[str]:
    """Return what stands in the sorted sets of these names."""
    return {
        unit.decode() for name in redis.scan_iter(pattern) for unit in redis.zrange(name, 0, -1)
    }


def check_lines(redis: Redis) -> None:
    """Assert that the parts of the lines agree with one another."""
    standing = units_in_lines(redis)
    counts = Counter(lane for lane, _, _ in standing.values())
    waiting = redis.hgetall(f"{keys.LINES}waiting")
    assert {lane.decode(): int(count) for lane, count in waiting.items()} == counts
    assert members(redis, f"{keys.LINES}units:*") == set(standing)
    for unit, (lane, _, _) in standing.items():
        job_id, _, slot = unit.partition("/")
        field = f"{slot}:lane" if slot else "lane"
        assert redis.hget(keys.job(job_id), field) == lane.encode()


def check_ended(redis: Redis, job_ids: set[str]) -> None:
    """Assert that nothing names these jobs, which have ended."""
    named = set(units_in_lines(redis)) | running_units(redis)
    named |= members(redis, f"{keys.LINES}holding:*")
    for index in (keys.WATCH, keys.DEFERRED, keys.EXPIRING):
        named |= members(redis, index)
    assert not {unit.partition("/")[0] for unit in named} & job_ids


def check_empty(redis: Redis) -> None:
    """Assert that no work stands anywhere."""
    names = [name.decode().removeprefix(keys.LINES) for name in redis.scan_iter(f"{keys.LINES}*")]
    assert [name for name in names if not name.startswith(KEPT)] == []
