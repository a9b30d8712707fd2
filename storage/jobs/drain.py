"""Draining: nothing new begins, and what runs goes on to its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from core.ids import SHARDS
from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis


class Progress(Struct, frozen=True):
    """What is left: jobs that workers hold, and ended ones that are not in MongoDB yet."""

    running: int
    unrecorded: int

    @property
    def is_done(self) -> bool:
        return not (self.running or self.unrecorded)


class Drain:
    """The mark in Redis that the accept and claim scripts obey; raises CoordinatorUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def begin(self) -> None:
        """Refuse new jobs and begin no waiting one from now on, until `end`."""
        with coordinator_errors():
            self._redis.set(keys.DRAIN, int(time.time()), nx=True)

    def end(self) -> bool:
        """Take jobs again; say whether it was draining."""
        with coordinator_errors():
            return bool(self._redis.delete(keys.DRAIN))

    def since_s(self) -> int | None:
        """Return since when it drains, Unix seconds; None when it does not."""
        with coordinator_errors():
            found: Any = self._redis.get(keys.DRAIN)
        return None if found is None else int(found)

    def progress(self) -> Progress:
        """Count what has not ended or is not recorded."""
        with coordinator_errors():
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrange(keys.WATCH, 0, -1)
                for shard in SHARDS:
                    pipe.xlen(keys.records(shard))
                watched, *unrecorded = pipe.execute()
            entries = {entry.decode().partition("/")[0] for entry in watched}
            with self._redis.pipeline(transaction=False) as pipe:
                for job_id in entries:
                    pipe.hget(keys.job(job_id), "status")
                statuses: list[Any] = pipe.execute()
        return Progress(statuses.count(b"in_progress"), sum(unrecorded))
