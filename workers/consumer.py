"""A Celery consumer that outlives the broker, and messages that it cannot use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer

logger = structlog.get_logger(__name__)


class GuardedConsumer(Consumer):
    """Takes a vanished broker connection for what it is.

    When Redis goes away while late-acknowledged tasks run, Celery 5.7.0 closes a connection, or
    acknowledges on one, whose transport is gone already, fails on the missing attribute and ends
    the whole worker. What could not be acknowledged is delivered again, and claims nothing then.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        _unless_gone(super().on_connection_error_after_connected)(exc)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(_unless_gone(p), *args, **kwargs)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._refuse(message, "it names no task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._refuse(message, f"unknown task {exc}")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._refuse(message, repr(exc))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._refuse(message, repr(exc))

    def _refuse(self, message: Any, reason: str) -> None:
        """Drop a message for good; Celery would log its content, and keep a result for some."""
        queue = message.delivery_info.get("routing_key")
        logger.error("message refused", queue=queue, reason=reason)
        message.reject_log_error(logger, self.connection_errors)


def _unless_gone(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except AttributeError as error:
            logger.warning("the broker's connection was gone already", reason=str(error))
            return None

    return guarded
