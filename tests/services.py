"""Real servers for tests: child processes on free ports, ended by their own pid."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops.stack import embedded
from ops.stack.own import Child, stub_upstream
from ops.stack.readiness import free_port, mongo_answers, redis_answers
from ops.stack.state import CannotRun


def start_redis(directory: Path) -> Child:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = _or_skip(lambda: embedded.redis_command(port, directory))
    return Child(url, command, lambda: redis_answers(url), directory / "redis.log")


def start_mongo(directory: Path) -> Child:
    port = free_port()
    url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    command = _or_skip(lambda: embedded.mongo_command(port, directory / "data"))
    return Child(url, command, lambda: mongo_answers(url), directory / "mongo.log")


def start_stub(
    directory: Path,
    *options: str,
    first_token_ms: float = 20,
    tokens: int = 10,
    token_gap_ms: float = 0,
) -> Child:
    """Start the stub upstream; `url` is what `AETHER_LLM_URL` takes.

    Args:
        options: further words of its command line, such as its limits.
    """
    return stub_upstream(
        directory,
        *("--first-token-ms", str(first_token_ms), "--tokens", str(tokens)),
        *("--token-gap-ms", str(token_gap_ms)),
        *options,
    )


def wait_until(holds: Callable[[], object], timeout_s: float, what: str) -> None:
    """Poll until `holds()` is true; fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"Waited {timeout_s:g} s for {what}.")
        time.sleep(0.05)


def port_of(url: str) -> int:
    """Return the port of a server's address, for a proxy in front of it."""
    port = urlsplit(url).port
    assert port is not None
    return port


def _or_skip(find: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """Skip on a laptop that lacks the program; in CI nothing may be skipped."""
    try:
        return find()
    except CannotRun as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
