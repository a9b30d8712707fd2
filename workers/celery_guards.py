"""What this version of Celery needs to outlive its broker and messages that it cannot use."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable
from queue import Empty
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.transport import redis

logger = structlog.get_logger(__name__)


class GuardedChannel(redis.Channel):
    """A channel that drops what is not JSON; Redis has removed it from the queue by then.

    It keeps one client: kombu makes one for every command, and redis-py fills a table of callbacks
    for each.
    """

    _kept_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        # Those of the event loop are made once anyway, and each has a connection of its own.
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        kept = self._kept_client
        # kombu replaces the pool when it connects anew.
        if kept is None or kept.connection_pool is not self.pool:
            kept = self._kept_client = super()._create_client()  # type: ignore[no-untyped-call]
        return kept

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except ValueError as error:
            _drop("-", f"not JSON: {error}")
            raise Empty from error


class GuardedTransport(redis.Transport):
    """Delivers only what has the shape of a message.

    Celery 5.7.0 fails on anything else outside of every task and ends the worker, which puts the
    message back for the next worker to end by.
    """

    Channel = GuardedChannel

    def _deliver(self, message: Any, queue: str) -> None:
        flaw = flaw_of(message)
        if flaw is None:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        else:
            _drop(queue, flaw)


def flaw_of(message: Any) -> str | None:
    """Return what keeps a message from being one of Celery's protocol 2; None if nothing does."""
    if not isinstance(message, dict):
        return "not an object"
    properties, body = message.get("properties"), message.get("body")
    if not isinstance(properties, dict) or not isinstance(message.get("headers"), dict):
        return "no properties or no headers"
    if not isinstance(properties.get("delivery_tag"), str):
        return "no delivery tag"
    if not isinstance(properties.get("delivery_info"), dict):
        return "no delivery info"
    if not isinstance(body, str) or not body:
        return "no body"
    if properties.get("body_encoding") == "base64":
        try:
            b64decode(body, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return "a body that is not text in base64"
    return None


def _drop(queue: str, reason: str) -> None:
    logger.error("message refused", queue=queue, reason=reason)


class GuardedConsumer(Consumer):
    """A consumer that survives the loss of its broker connection.

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
