"""A Redis transport that lets go of what is no message before it can end a worker."""

from __future__ import annotations

import binascii
from base64 import b64decode
from queue import Empty
from typing import Any

import structlog
from kombu.transport import redis

logger = structlog.get_logger(__name__)


class GuardedChannel(redis.Channel):
    """Goes on when what Redis handed out cannot be read; it is off the queue by then."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except ValueError as error:
            _refuse("-", f"not JSON: {error}")
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
            _refuse(queue, flaw)


def flaw_of(message: Any) -> str | None:
    """Return what of it is not as Celery's protocol 2 wants it; None when all is."""
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


def _refuse(queue: str, reason: str) -> None:
    logger.error("message refused", queue=queue, reason=reason)
