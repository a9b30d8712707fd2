"""Publishing wake-ups: messages that say that some job may start, never which.

What is next stands in the lines (`storage/jobs/lines.py`). So a wake-up that is lost, doubled or
early does no harm: upkeep publishes further ones for whatever nobody takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from celery import Celery, Signature, chord
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from core.errors import CoordinatorUnavailable
from core.jobs import NO_PLACE, Job, JobSpec, JobStatus, Place
from storage.jobs.lines import Lines
from workers import names

logger = structlog.get_logger(__name__)

_UNREACHABLE = (OperationalError, KombuError, RedisError, ConnectionError, TimeoutError)
#: The task and the queue of each kind of work.
_WAKE_UPS: Final = {
    "quick": (names.RUN_CHAT, names.QUICK_QUEUE),
    "run": (names.RUN_CHAT, names.RUN_QUEUE),
    "agent": (names.RUN_AGENT, names.AGENT_QUEUE),
    "finish": (names.FINISH_ROUND, names.FINISH_QUEUE),
}


class WakeUps:
    """Wakes workers that wait for Celery's messages; a failed publish is logged and no error."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, kind: str, count: int = 1) -> bool:
        """Publish so many wake-ups for a kind of work; False when the broker did not take one.

        Args:
            kind: quick, run, agent or finish; a worker takes whatever is next all the same.
        """
        return all(self._publish(self._signature(kind).apply_async) for _ in range(count))

    def start_round(self, agents: int) -> None:
        """Publish a wake-up for each agent of a team, and as their chord's body one for the end."""
        header = [self._signature("agent") for _ in range(agents)]
        self._publish(chord(header, self._signature("finish")).apply_async)

    def count_waiting(self) -> int:
        """Return how many wake-ups no worker has taken yet.

        Raises:
            BrokerAway: the broker does not answer.
        """
        try:
            with self._app.connection_for_write() as connection:
                channel = connection.default_channel
                found = [
                    # As the workers declare it; of Redis an empty queue does not exist.
                    channel.queue_declare(name, durable=True, auto_delete=False).message_count
                    for name in names.CHAT_QUEUES
                ]
        except _UNREACHABLE as error:
            raise BrokerAway from error
        return sum(found)

    def _signature(self, kind: str) -> Signature:
        name, queue = _WAKE_UPS[kind]
        return self._app.signature(name, queue=queue, ignore_result=True)

    def _publish(self, send: Callable[[], Any]) -> bool:
        try:
            send()
        except _UNREACHABLE as error:
            logger.warning("no wake-up published; upkeep will", error=repr(error))
            return False
        return True


class BrokerAway(Exception):
    """The broker does not answer."""


class JobQueue:
    """Puts durable jobs into their lines; all of the workers that the web may see."""

    def __init__(self, lines: Lines, wake_ups: WakeUps) -> None:
        self._lines = lines
        self._wake_ups = wake_ups

    def submit(self, spec: JobSpec) -> Place:
        """Let the job wait for its turn and say where it stands.

        Where Redis is away the sweeper does it later.
        """
        try:
            entered = self._lines.enter([spec])
        except CoordinatorUnavailable:
            logger.warning("job is in no line yet; the sweeper puts it there", job_id=spec.id)
            return NO_PLACE
        self._wake_ups.send("quick" if spec.mode == "quick" else "run", entered.unwoken)
        return entered.place

    def place_of(self, job: Job) -> Place:
        """Say where a job stands now; nowhere if it does not wait.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        return self._lines.place_of(job.id) if job.status is JobStatus.QUEUED else NO_PLACE
