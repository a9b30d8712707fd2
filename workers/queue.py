"""Publishing work: jobs, rounds of teams and single slots.

A message is a wake-up, and what is kept with the job is the truth. So a failed publish is no error:
the sweeper sends whatever nobody has taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery import Celery, Signature, chord
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from core.team import Slot
from core.timing import now_ms
from workers import names

logger = structlog.get_logger(__name__)

_UNREACHABLE = (OperationalError, KombuError, RedisError, ConnectionError, TimeoutError)


class JobQueue:
    """Publishes ids; all of the workers that the web may see."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def submit(self, job_id: str, *, is_quick: bool, request_id: str | None = None) -> bool:
        """Publish the job's id and return True; False when the broker did not take it in time."""
        headers: dict[str, Any] = {names.QUEUED_MS_HEADER: now_ms()}
        if request_id:
            headers[names.REQUEST_ID_HEADER] = request_id
        queue = names.QUICK_QUEUE if is_quick else names.RUN_QUEUE
        return self._publish(
            job_id,
            lambda: self._app.send_task(
                names.RUN_CHAT,
                args=(job_id,),
                queue=queue,
                headers=headers,
                ignore_result=True,
                # What Flower and Celery's events show in place of the arguments.
                argsrepr="hidden",
                kwargsrepr="hidden",
            ),
        )

    def start_round(self, job_id: str, slots: Sequence[Slot], end: Slot) -> None:
        """Publish every agent's turn, and as a chord's body the round's end."""
        round_ = chord(
            [self._slot(job_id, slot) for slot in slots],
            self._signature(names.FINISH_ROUND, names.FINISH_QUEUE, (job_id, end.name)),
        )
        self._publish(job_id, round_.apply_async)

    def send_slot(self, job_id: str, slot: Slot) -> None:
        """Publish one slot outside any chord."""
        self._publish(job_id, self._slot(job_id, slot).apply_async)

    def _slot(self, job_id: str, slot: Slot) -> Signature:
        if slot.is_end:
            # Outside a chord there are no results to pass to the body.
            args: tuple[Any, ...] = ([], job_id, slot.name)
            return self._signature(names.FINISH_ROUND, names.FINISH_QUEUE, args)
        return self._signature(names.RUN_AGENT, names.AGENT_QUEUE, (job_id, slot.name))

    def _signature(self, name: str, queue: str, args: tuple[Any, ...]) -> Signature:
        return self._app.signature(
            name, args=args, queue=queue, ignore_result=True, argsrepr="hidden", kwargsrepr="hidden"
        )

    def _publish(self, job_id: str, send: Callable[[], Any]) -> bool:
        try:
            send()
        except _UNREACHABLE as error:
            logger.warning("not published; the sweeper will", job_id=job_id, error=repr(error))
            return False
        return True
