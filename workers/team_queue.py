"""Sending a team's work: a round as a Celery chord, or one slot of it alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery, Signature, chord
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from core.team import Slot
from workers import names

logger = structlog.get_logger(__name__)

_UNREACHABLE = (OperationalError, KombuError, RedisError, ConnectionError, TimeoutError)


class TeamQueue:
    """Publishes slots; a message is a hint, what is kept with the job is the truth.

    A failed publish is no error: the sweeper sends every slot that nobody has taken.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def start_round(self, job_id: str, slots: Sequence[Slot], end: Slot) -> None:
        """Send every agent's turn, and the round's end for when all have reported."""
        try:
            chord(
                [self._turn(job_id, slot) for slot in slots],
                self._signature(names.FINISH_ROUND, names.FINISH_QUEUE, (job_id, end.name)),
            ).apply_async()
        except _UNREACHABLE as error:
            logger.warning("round not published; the sweeper will", error=repr(error))

    def send(self, job_id: str, slot: Slot) -> None:
        """Send one slot outside any chord."""
        try:
            if slot.is_end:
                args: tuple[Any, ...] = ([], job_id, slot.name)
                self._signature(names.FINISH_ROUND, names.FINISH_QUEUE, args).apply_async()
            else:
                self._turn(job_id, slot).apply_async()
        except _UNREACHABLE as error:
            logger.warning("slot not published; the sweeper will", error=repr(error))

    def _turn(self, job_id: str, slot: Slot) -> Signature:
        return self._signature(names.RUN_AGENT, names.AGENT_QUEUE, (job_id, slot.name))

    def _signature(self, name: str, queue: str, args: tuple[Any, ...]) -> Signature:
        # What Flower shows in place of the arguments; results travel in the chord's own keys.
        return self._app.signature(
            name, args=args, queue=queue, ignore_result=True, argsrepr="hidden", kwargsrepr="hidden"
        )
