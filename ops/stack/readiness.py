"""Whether a server of the stack answers; each check gives up after two seconds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final

import httpx
import pymongo
from pymongo.errors import PyMongoError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ops.stack.state import CannotRun

_TIMEOUT_S: Final = 2.0
_POLL_S: Final = 0.05


def wait_until(holds: Callable[[], object], timeout_s: float, what: str) -> None:
    """Poll until `holds()` is true.

    Raises:
        CannotRun: `what` did not come within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise CannotRun(f"Waited {timeout_s:g} s for {what}.")
        time.sleep(_POLL_S)


def redis_answers(url: str) -> bool:
    client = Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()


def mongo_answers(url: str) -> bool:
    timeout_ms = int(_TIMEOUT_S * 1000)
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        url, serverSelectionTimeoutMS=timeout_ms, timeoutMS=timeout_ms
    )
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        client.close()
    return True


def http_answers(url: str) -> bool:
    """Return whether a GET succeeds; a 503 from /readyz counts as no."""
    try:
        return httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port that is free now; another program may take it before its use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
