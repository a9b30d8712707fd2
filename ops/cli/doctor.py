"""`aether doctor`: checks settings, machine and every server with what Aether needs of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from kombu.exceptions import KombuError
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from core.errors import AetherError
from core.server_addresses import broker_tls, celery_url
from core.settings import Settings
from ops.doctor.checks import Check, Result, run_checks
from ops.doctor.others import (
    broker_check,
    machine_checks,
    model_check,
    mongo_checks,
    port_checks,
    settings_checks,
)
from ops.doctor.redis import redis_checks
from ops.stack.resolve import embedded_parts
from ops.stack.running import checked_settings, command_settings, supervisor_environment
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory, read_record
from ops.terminal import say
from storage.connections import close_all, mongo_database, redis_client
from workers.app import celery_app

State = Annotated[Path, typer.Option(help="The stack that is checked, or would be started.")]
_DRIVERS: Final = (RedisError, PyMongoError, KombuError, AetherError, OSError, ValueError)
_EMBEDDED_TEXT: Final = "{} is embedded; `make run` starts it."


def doctor_command(
    state: State = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Check everything that a stack needs; exits 1 when something is missing."""
    directory = StateDirectory(state.resolve())
    try:
        results = list(_results(directory))
    except CannotRun as error:
        results = [Result("settings", "FAIL", line) for line in str(error).splitlines()]
    if as_json:
        say(json.dumps([asdict(result) for result in results], indent=2))
    else:
        for result in results:
            say(f"{result.level:<5} {result.area:<9} {result.text}")
    if any(result.level == "FAIL" for result in results):
        raise typer.Exit(1)


def _results(directory: StateDirectory) -> Iterator[Result]:
    runs = supervisor_environment(directory) is not None
    settings = command_settings(directory) if runs else checked_settings()
    has_flower = bool(read_record(directory).flower_url) or not runs
    local = [
        *settings_checks(settings),
        *machine_checks(directory.root),
        *port_checks(settings, runs=runs, flower=has_flower),
    ]
    yield from run_checks(local, _DRIVERS)
    missing = () if runs else embedded_parts(settings)
    yield from (Result(part, "ok", _EMBEDDED_TEXT.format(part)) for part in missing)
    redis = redis_client(settings, name="aether-doctor", answer_timeout_s=5.0)
    database = mongo_database(settings)
    try:
        yield from run_checks(_server_checks(settings, redis, database, missing), _DRIVERS)
    finally:
        close_all(database, redis)


def _server_checks(
    settings: Settings, redis: Any, database: Any, missing: tuple[str, ...]
) -> Iterator[Check]:
    if "redis" not in missing:
        yield from redis_checks(redis)
        url = settings.celery_broker_url
        celery_app.conf.update(
            broker_url=celery_url(url),
            broker_write_url=celery_url(url),
            broker_use_ssl=broker_tls(url, settings),
        )
        yield broker_check(celery_app)
    if not {"mongo", "redis"} & set(missing):
        yield from mongo_checks(database, redis)
    if "llm" not in missing:
        yield model_check(settings)
