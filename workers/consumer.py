"""A Celery consumer that outlives the broker."""

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


def _unless_gone(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except AttributeError as error:
            logger.warning("the broker's connection was gone already", reason=str(error))
            return None

    return guarded
