"""Leaving what Redis holds of unfinished jobs behind: another format keeps it in another layout.

The jobs come back from their records when the stack starts, as after a loss of Redis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from core.ids import SHARDS
from core.jobs import JobStatus
from core.timing import now_ms
from storage import keys
from storage.failures import coordinator_errors, store_errors

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

_AT_ONCE: Final = 500


def count_running(redis: Redis, database: Database[dict[str, Any]]) -> int:
    """Return how many unfinished jobs a live worker holds."""
    now = now_ms()
    return sum(
        status == b"in_progress" and int(lease or 0) > now
        for found in _unfinished(database)
        for status, lease in _read(redis, found, ("status", "lease"))
    )


def forget_unfinished(redis: Redis, database: Database[dict[str, Any]]) -> int:
    """Remove what Redis holds of unfinished jobs and return how many it held; a repeat finds none.

    Nothing stays reserved for them: whoever brings them back reserves it again.
    """
    count = 0
    for found in _unfinished(database):
        values = _read(redis, found, ("status", "reserved", "budgets", "units"))
        with coordinator_errors(), redis.pipeline(transaction=True) as pipe:
            for document, (status, reserved, budgets, units) in zip(found, values, strict=True):
                if status is None:
                    continue
                count += 1
                job_id, user_id = document["_id"], document["user_id"]
                created_ms = int(document["spec"]["created_ms"])
                for name in _budget_keys(budgets) or [keys.spend(user_id, created_ms)]:
                    pipe.hincrby(name, "reserved", -int(reserved or 0))
                numbers = range(2, int(units or 1) + 1)
                pipe.zrem(keys.active(user_id), job_id, *(f"{job_id}#{n}" for n in numbers))
                pipe.delete(keys.job(job_id), keys.events(job_id))
            pipe.execute()
    _remove_indexes(redis)
    return count


def _budget_keys(budgets: bytes | None) -> list[str]:
    """Return the keys of a job's budgets; the version before kept none with the job."""
    return [line.split()[1] for line in (budgets or b"").decode().splitlines()]


def _unfinished(database: Database[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    wanted = {"user_id": 1, "spec.created_ms": 1}
    with store_errors():
        documents = database["jobs"].find({"status": JobStatus.QUEUED.value}, wanted)
        while found := list(islice(documents, _AT_ONCE)):
            yield found


def _read(
    redis: Redis, documents: Sequence[dict[str, Any]], names: Sequence[str]
) -> list[list[bytes | None]]:
    with coordinator_errors(), redis.pipeline(transaction=False) as pipe:
        for document in documents:
            pipe.hmget(keys.job(document["_id"]), names)
        return pipe.execute()


def _remove_indexes(redis: Redis) -> None:
    """Remove what names unfinished jobs: of this version, and the index that format 1 had."""
    with coordinator_errors():
        old = [f"aether:{{{shard}}}:dispatch" for shard in SHARDS]
        lines = list(redis.scan_iter(f"{keys.LINES}*", count=1000))
        redis.delete(keys.WATCH, keys.DEFERRED, keys.EXPIRING, keys.EPOCH, *old, *lines)
