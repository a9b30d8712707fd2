"""Keeps a process from working on stores of another format, at its start and ever after."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog

from core.errors import ServiceUnavailable
from core.loops import Loop
from storage.format import OtherFormat
from storage.records.migrations import prepare

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

logger = structlog.get_logger(__name__)

_LOOK_EVERY_S: Final = 30.0


class FormatWatch:
    """Looks at the stores' format; `pending` are the titles of migrations that wait.

    Args:
        end: ends the process, when another version has migrated the stores under it.
    """

    def __init__(
        self, redis: Redis, database: Database[dict[str, Any]], end: Callable[[], None]
    ) -> None:
        self._redis = redis
        self._database = database
        self._end = end
        self.pending: tuple[str, ...] = ()
        self.loop = Loop("format-watch", self._look_again, every_s=_LOOK_EVERY_S)

    def start(self) -> None:
        """Look once, and go on in the background; stores that are away are looked at later.

        Raises:
            OtherFormat: this process must not work on these stores.
        """
        try:
            self._look()
        except ServiceUnavailable as error:
            logger.warning("the stores' format is not known yet", code=error.code)
        self.loop.start()

    def _look_again(self) -> None:
        try:
            self._look()
        except OtherFormat as error:
            logger.critical("the process ends", why=str(error))
            self._end()

    def _look(self) -> None:
        waiting = prepare(self._redis, self._database)
        self.pending = tuple(f"{step.number}: {step.title}" for step in waiting)
        if waiting:
            logger.warning("migrations are pending; run `aether db migrate`", pending=self.pending)
