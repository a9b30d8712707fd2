"""The stores of a stack for a backup or a restore, whether the stack runs or not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from pydantic import SecretStr

from core.settings import Settings
from core.strays import without_strays
from ops.stack import credentials, embedded
from ops.stack.leftovers import MARK, end_leftovers
from ops.stack.own import Child
from ops.stack.readiness import free_port, mongo_answers
from ops.stack.resolve import embedded_parts
from ops.stack.running import checked_settings, command_settings
from ops.stack.state import CannotRun, StateDirectory, keep_secrets
from ops.stack.supervisor import Supervisor
from storage.connections import redis_client
from storage.loop_reports import LoopReports

_BUSY: Final = "A stack runs on {}; end it first: `aether stop`."


@contextmanager
def readable(directory: StateDirectory) -> Iterator[Settings]:
    """Yield settings that reach the stack's database; an embedded one is started if none runs.

    Raises:
        CannotRun: there is none, or it did not start.
    """
    if Supervisor(directory.socket).is_up():
        yield command_settings(directory)
        return
    settings = checked_settings()
    if "mongo" not in embedded_parts(settings):
        yield settings
        return
    if not (directory.root / "mongo").is_dir():
        raise CannotRun(f"No stack was started on {directory.root}, and AETHER_MONGO_URL is empty.")
    with _held(directory), _database(directory, settings) as reachable:
        yield reachable


@contextmanager
def replaceable(directory: StateDirectory) -> Iterator[Settings]:
    """Yield settings that reach the database of a stack that does not run, and keep it from it.

    Raises:
        CannotRun: a stack runs on the directory, or workers report in the Redis that is set.
    """
    directory.create()
    with _held(directory):
        if Supervisor(directory.socket).is_up():
            raise CannotRun(_BUSY.format(directory.root))
        settings = checked_settings()
        parts = embedded_parts(settings)
        if "redis" not in parts:
            _refuse_reporting(settings)
        if "mongo" not in parts:
            yield settings
            return
        with _database(directory, settings) as reachable:
            yield reachable


def has_embedded_redis(settings: Settings) -> bool:
    return "redis" in embedded_parts(settings)


def embedded_redis_is_used(directory: StateDirectory) -> bool:
    """Say whether the embedded Redis has kept anything."""
    data = directory.root / "redis"
    return any(data.glob("appendonly*")) or any(data.glob("*.rdb"))


def empty_embedded_redis(directory: StateDirectory) -> None:
    """Remove what the embedded Redis, which does not run, has kept."""
    shutil.rmtree(directory.root / "redis", ignore_errors=True)


@contextmanager
def _held(directory: StateDirectory) -> Iterator[None]:
    with directory.held() as is_mine:
        if not is_mine:
            raise CannotRun(_BUSY.format(directory.root))
        yield


@contextmanager
def _database(directory: StateDirectory, settings: Settings) -> Iterator[Settings]:
    """Run the embedded database alone, on a port of its own.

    One that a killed command left behind would hold the data: it is ended first, as `aether up`
    and `aether stop` do.
    """
    end_leftovers(directory)
    data = directory.root / "mongo"
    data.mkdir(mode=0o700, exist_ok=True)
    secrets = keep_secrets(directory)
    credentials.ensure_database_user(
        lambda port: embedded.mongo_command(port, data), data, secrets["mongo_password"]
    )
    port = free_port()
    url = credentials.mongo_url(port, secrets)
    chosen: dict[str, Any] = {"mongo_url": SecretStr(url)}
    log = directory.log_of("mongo-alone")
    command = embedded.mongo_command(port, data, asks_password=True)
    marked = without_strays(os.environ) | {MARK: str(directory.root)}
    answers = partial(mongo_answers, url)
    with Child(url, command, answers, log, environment=marked, is_apart=True):
        yield settings.model_copy(update=chosen)


def _refuse_reporting(settings: Settings) -> None:
    redis = redis_client(settings, name="aether-ops", answer_timeout_s=5.0)
    try:
        reports = LoopReports(redis).read()
    finally:
        redis.connection_pool.disconnect()
    if reports:
        names = ", ".join(report.worker for report in reports)
        raise CannotRun(
            f"Workers report in this Redis ({names}); end everything that uses it, wait 20 s, "
            "and repeat."
        )
