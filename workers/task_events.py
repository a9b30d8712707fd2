"""What Flower shows: jobs and slots as tasks, in place of the messages that wake threads.

A worker reports each claim as Celery's own events: the uuid is the job's id, or `<job id>/<slot>`,
the name that of the task for its kind. They are sent together once a second, and only while
somebody asks for a worker's events, as Flower does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from core.loops import Loop
from storage.jobs.claims import Claim
from workers import names

_EVERY_S: Final = 1.0
#: Of a burst that nobody takes the oldest are dropped.
_MOST_KEPT: Final = 10_000
_UNREACHABLE = (OperationalError, KombuError, RedisError, OSError)


class TaskEvents:
    """The events of one worker process; safe to share between its threads."""

    def __init__(self, app: Celery, *, clock: Callable[[], float] = time.time) -> None:
        self._app = app
        self._clock = clock
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque(maxlen=_MOST_KEPT)
        self._is_wanted: Callable[[], bool] = lambda: False
        self._worker = ""
        self.loop = Loop("task-events", self.flush, every_s=_EVERY_S)

    def start(self, worker: str, is_wanted: Callable[[], bool]) -> None:
        """Begin to send under a worker's name, as in `worker-1@host`, while it is wanted."""
        self._worker, self._is_wanted = worker, is_wanted

    def began(self, claim: Claim) -> None:
        """Report that an attempt begins."""
        if not self._is_wanted():
            return
        self._add(
            "task-received",
            claim,
            name=_task_of(claim),
            args="hidden",
            kwargs="hidden",
            root_id=claim.job_id,
            retries=claim.attempt - 1,
        )
        self._add("task-started", claim)

    def succeeded(self, claim: Claim, runtime_s: float) -> None:
        """Report that the attempt did what it was to do."""
        self._add("task-succeeded", claim, result="hidden", runtime=runtime_s)

    def failed(self, claim: Claim, code: str) -> None:
        """Report that the job or slot ended by an error."""
        self._add("task-failed", claim, exception=code)

    def came_back(self, claim: Claim, code: str) -> None:
        """Report that there will be another attempt."""
        self._add("task-retried", claim, exception=code)

    def flush(self) -> None:
        """Send what has gathered in one message; what the broker does not take is dropped."""
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not waiting:
            return
        try:
            with self._app.connection_for_write() as connection:
                dispatcher = self._app.events.Dispatcher(
                    connection,
                    hostname=self._worker,
                    buffer_group={"task"},
                    buffer_limit=_MOST_KEPT + 1,
                )
                for kind, fields in waiting:
                    dispatcher.send(kind, **fields)
                dispatcher.flush()
                dispatcher.close()
        except _UNREACHABLE:
            # Nothing depends on what Flower shows.
            return

    def _add(self, kind: str, claim: Claim, **fields: Any) -> None:
        if self._is_wanted():
            unit = f"{claim.job_id}/{claim.slot}" if claim.slot else claim.job_id
            self._waiting.append((kind, {"uuid": unit, "timestamp": self._clock(), **fields}))


def _task_of(claim: Claim) -> str:
    if not claim.slot:
        return names.RUN_CHAT
    return names.FINISH_ROUND if claim.slot.endswith(".end") else names.RUN_AGENT
