"""How the loops of every worker process do, in Redis, for whoever asks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from core.loops import LoopHealth
from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis

#: How often a worker reports, in seconds.
REPORT_EVERY_S: Final = 5.0
#: A report that is not renewed is gone after this: the worker has ended, or cannot reach Redis.
_TTL_S: Final = 20
_NAMES_TTL_S: Final = 60


class WorkerReport(Struct, frozen=True):
    """What one worker process said last of its loops.

    Attributes:
        worker: Celery's name for the process, as in `worker-1@host`.
    """

    worker: str
    loops: tuple[LoopHealth, ...]

    @property
    def program(self) -> str:
        """The worker's name without its host, which is the program's name in a stack."""
        return self.worker.partition("@")[0]

    def stuck(self) -> list[str]:
        """Return a few words for each loop that does not turn."""
        return [
            f"{loop.name} stuck since {loop.still_s:.0f} s" for loop in self.loops if loop.is_stuck
        ]


class LoopReports:
    """One small key for each worker process; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def write(self, worker: str, loops: Sequence[LoopHealth]) -> None:
        """Replace the worker's report."""
        now_s = time.time()
        report = msgspec.json.encode(WorkerReport(worker, tuple(loops)))
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.loops(worker), report, ex=_TTL_S)
            pipe.zadd(keys.WORKERS, {worker: now_s})
            pipe.zremrangebyscore(keys.WORKERS, "-inf", now_s - _NAMES_TTL_S)
            pipe.expire(keys.WORKERS, _NAMES_TTL_S)
            pipe.execute()

    def read(self) -> list[WorkerReport]:
        """Return the last report of every worker that reports, by name."""
        with coordinator_errors():
            names: Any = self._redis.zrange(keys.WORKERS, 0, -1)
            if not names:
                return []
            found: Any = self._redis.mget([keys.loops(name.decode()) for name in names])
        reports = [msgspec.json.decode(row, type=WorkerReport) for row in found if row]
        return sorted(reports, key=lambda report: report.worker)
