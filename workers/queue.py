"""Putting a job on its queue: the producer's face, all of the workers that the web may see."""

from __future__ import annotations

import time
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import KombuError, OperationalError

from workers import names

logger = structlog.get_logger(__name__)

_UNREACHABLE = (OperationalError, KombuError, ConnectionError, TimeoutError)


class JobQueue:
    """Publishes job ids; a message is a hint, the job store is the truth."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def submit(self, job_id: str, *, is_quick: bool, request_id: str | None = None) -> bool:
        """Publish the job's id and return True; False when the broker did not take it in time.

        A False is no error: the sweeper publishes what nobody has claimed.
        """
        headers: dict[str, Any] = {names.QUEUED_MS_HEADER: int(time.time() * 1000)}
        if request_id:
            headers[names.REQUEST_ID_HEADER] = request_id
        queue = names.QUICK_QUEUE if is_quick else names.RUN_QUEUE
        try:
            self._send(names.RUN_CHAT, job_id, queue=queue, headers=headers)
        except _UNREACHABLE as error:
            logger.warning("job not published; the sweeper will", job_id=job_id, error=repr(error))
            return False
        return True

    def _send(self, task: str, job_id: str, **options: Any) -> None:
        self._app.send_task(
            task,
            args=(job_id,),
            ignore_result=True,
            # What Flower and Celery's events show in place of the arguments.
            argsrepr="hidden",
            kwargsrepr="hidden",
            **options,
        )
