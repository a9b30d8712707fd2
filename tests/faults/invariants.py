"""What has to hold once every accepted job has ended, whatever was done to the stack meanwhile.

It looks into the stores themselves, so it does not depend on what the API says of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pymongo.database import Database
from redis import Redis

from core.events import ANSWER_DELTA, JOB_RETRYING, TERMINAL_TYPES, Event
from core.ids import SHARDS
from core.jobs import TERMINAL
from storage import keys
from storage.events.log import EventLog
from storage.jobs.store import JobStore
from workers import names

Mongo = Database[dict[str, Any]]

#: What Redis says of a key that never expires.
_FOR_EVER = -1
_TERMINAL = frozenset(status.value for status in TERMINAL)


def check_invariants(
    redis: Redis, mongo_database: Mongo, job_ids: Sequence[str], *, log_survives: bool = True
) -> None:
    """Fail with all that is wrong with the accepted jobs, or with what is left of any job.

    Args:
        log_survives: Redis kept its data, so that it still has every job and every log.
    """
    found = [*_of_jobs(redis, mongo_database, job_ids, log_survives)]
    found += [*_of_leftovers(redis), *_of_lasting_keys(redis)]
    assert not found, "\n".join(found)


def unfinished(redis: Redis, mongo_database: Mongo, job_ids: Sequence[str]) -> list[str]:
    """Return the jobs whose end is not recorded or not let go yet."""
    kept = [job_id for job_id in job_ids if redis.ttl(keys.job(job_id)) == _FOR_EVER]
    if kept:
        return kept
    wanted = {"_id": {"$in": list(job_ids)}, "status": {"$in": list(_TERMINAL)}}
    recorded = {found["_id"] for found in mongo_database["jobs"].find(wanted, {"_id": 1})}
    waiting = any(redis.xlen(keys.records(shard)) for shard in SHARDS)
    return [job_id for job_id in job_ids if job_id not in recorded] or ["records"] * waiting


def is_drained(redis: Redis, delivery_tags: Sequence[str] = ()) -> bool:
    """Say whether no message waits, and of the given ones none is unacknowledged."""
    is_taken = not any(redis.llen(queue) for queue in names.QUEUES)
    return is_taken and not any(redis.hexists("unacked", tag) for tag in delivery_tags)


def _of_jobs(
    redis: Redis, mongo_database: Mongo, job_ids: Sequence[str], log_survives: bool
) -> Iterator[str]:
    wanted = list(job_ids)
    if len(set(wanted)) != len(wanted):
        yield "two submissions have one job"
    records = {
        found["_id"]: found for found in mongo_database["jobs"].find({"_id": {"$in": wanted}})
    }
    settlements = list(mongo_database["ledger"].find({"job_id": {"$in": wanted}}))
    for job_id in wanted:
        settled = sum(entry["job_id"] == job_id for entry in settlements)
        for what in _of_job(redis, job_id, records.get(job_id), settled, log_survives):
            yield f"{job_id} {what}"


def _of_job(
    redis: Redis, job_id: str, record: dict[str, Any] | None, settled: int, log_survives: bool
) -> Iterator[str]:
    if record is None:
        yield "has no record"
        return
    if record["status"] not in _TERMINAL:
        yield f"is recorded as {record['status']}"
    if settled != 1:
        yield f"has {settled} settlements"
    live = JobStore(redis).get(job_id)
    if live is None:
        if log_survives:
            yield "is not in Redis"
        return
    if live.status.value != record["status"]:
        yield f"is {live.status.value} in Redis and {record['status']} in its record"
    answer = (record["outcome"] or {}).get("answer") or {}
    yield from _of_log(EventLog(redis).read(job_id, after=0), answer.get("text", ""))
    if redis.hexists(keys.job(job_id), "fence") or redis.hexists(keys.job(job_id), "lease"):
        yield "still has a lease"


def _of_log(log: Sequence[Event], answer: str) -> Iterator[str]:
    numbers = [event.sequence for event in log]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"has events numbered {numbers}"
    ends = [event.sequence for event in log if event.type in TERMINAL_TYPES]
    if len(ends) != 1 or ends != numbers[-1:]:
        yield f"has terminal events {ends} among {len(log)}"
    told = _told(log)
    if told != answer:
        yield f"told {told!r} and answered {answer!r}"


def _told(log: Sequence[Event]) -> str:
    """Return the text of the last attempt."""
    text = ""
    for event in log:
        if event.type == JOB_RETRYING:
            text = ""
        elif event.type == ANSWER_DELTA:
            text += json.loads(event.body)["data"]["text"]
    return text


def _of_leftovers(redis: Redis) -> Iterator[str]:
    for name in redis.scan_iter("aether:*:active:*", count=1000):
        yield f"{name.decode()} holds {redis.zrange(name, 0, -1)}"
    for name in redis.scan_iter("aether:*:spend:*", count=1000):
        reserved = int(redis.hget(name, "reserved") or 0)
        if reserved != 0:
            yield f"{name.decode()} reserves {reserved}"
    for shard in SHARDS:
        if due := redis.zrange(keys.dispatch_of_shard(shard), 0, -1):
            yield f"{keys.dispatch_of_shard(shard)} holds {due}"
        if waiting := redis.xlen(keys.records(shard)):
            yield f"{keys.records(shard)} holds {waiting} entries"
        yield from _of_pending(redis, keys.records(shard))


def _of_lasting_keys(redis: Redis) -> Iterator[str]:
    """Yield the keys that would stay for ever, but for those that are empty when all is quiet."""
    for name in redis.scan_iter("aether:{*", count=1000):
        is_standing = b":active:" in name or name.endswith((b":dispatch", b":records"))
        if not is_standing and redis.ttl(name) == _FOR_EVER:
            yield f"{name.decode()} never expires"


def _of_pending(redis: Redis, stream: str) -> Iterator[str]:
    groups: Any = redis.xinfo_groups(stream) if redis.exists(stream) else []
    for group in groups:
        if group["pending"]:
            yield f"{stream} has {group['pending']} entries that were read and not let go"
