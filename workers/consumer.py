"""A Celery consumer that outlives the broker."""

from __future__ import annotations

from typing import Any

import structlog
from celery.worker.consumer import Consumer

logger = structlog.get_logger(__name__)


class GuardedConsumer(Consumer):
    """Takes a vanished broker connection for what it is.

    When Redis goes away while late-acknowledged tasks run, Celery 5.7.0 closes a connection whose
    transport is gone already, fails on the missing attribute and ends the whole worker.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as error:
            logger.warning("broker connection was gone before it could be closed", error=str(error))

    def on_close(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().on_close(*args, **kwargs)
        except AttributeError as error:
            logger.warning("unacknowledged messages could not be put back", error=str(error))
