"""Whether Redis still is what it was: a restart may have lost a second of writes, a wipe all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis


class Epoch:
    """The run of Redis for which every unfinished record is known to have its job.

    Raises CoordinatorUnavailable when Redis is away.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def is_known(self) -> bool:
        """Say whether nothing can have been lost since the last `confirm`."""
        with coordinator_errors():
            marked: Any = self._redis.get(keys.EPOCH)
        return marked is not None and marked.decode() == self.current()

    def current(self) -> str:
        """Return what names this run of Redis."""
        with coordinator_errors():
            server: Any = self._redis.info("server")
        return str(server["run_id"])

    def confirm(self, run: str) -> None:
        """Note that every unfinished record has its job, as of this run of Redis."""
        with coordinator_errors():
            self._redis.set(keys.EPOCH, run)
