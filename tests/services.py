"""Real servers for tests: child processes on free ports, ended by their own pid."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from celery import Celery

from ops.stack import embedded, programs
from ops.stack.own import Child, stub_upstream
from ops.stack.readiness import free_port, mongo_answers, redis_answers
from ops.stack.state import CannotRun

_WORKER_READY_WITHIN_S = 60.0


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


def worker_program(role: Literal["worker", "upkeep"]) -> tuple[str, ...]:
    """Return the command of a worker of the chat or of upkeep, as the stack runs it."""
    commands = {
        "worker": programs.worker_command("worker", "4"),
        "upkeep": programs.upkeep_command(),
    }
    celery, *words = commands[role]
    return (str(Path(sys.executable).with_name(celery)), *words)


def start_worker(
    directory: Path, role: Literal["worker", "upkeep"], app: Celery, **environment: str
) -> Child:
    """Start a real worker; `app` is what asks whether it is there, over the worker's broker."""
    address = f"{role}@{socket.gethostname()}"

    def answers() -> bool:
        return bool(app.control.ping([address], timeout=0.5))

    return Child(
        app.conf.broker_url,
        worker_program(role),
        answers,
        directory / f"{role}.log",
        environment={**os.environ, **environment},
        answers_within_s=_WORKER_READY_WITHIN_S,
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
