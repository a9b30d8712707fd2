"""`aether db migrate`, `aether drain` and `aether resume`: what an upgrade needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from core.errors import CoordinatorUnavailable, ServiceUnavailable
from core.settings import Settings
from ops.stack.running import command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import PlainConsole, say
from storage.connections import close_all, mongo_database, redis_client, redis_probe
from storage.format import OtherFormat
from storage.jobs.drain import Drain
from storage.records.migrations import CannotMigrate, migrate

db_app = typer.Typer(no_args_is_help=True, help="The database's format, indexes and validators.")
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
_POLL_S: Final = 0.5
_console = PlainConsole()


@db_app.command("migrate")
def migrate_command(state: State = DEFAULT_STATE) -> None:
    """Bring MongoDB and Redis to this version; a repeat does nothing."""
    with _exit_on_problems():
        settings = command_settings(StateDirectory(state.resolve()))
        redis = redis_client(settings, name="aether-ops", answer_timeout_s=5.0)
        database = mongo_database(settings)
        try:
            done = migrate(redis, database)
        finally:
            close_all(database, redis)
        for sentence in done or ["Nothing to do: the stores are of this version."]:
            say(sentence)


def drain_command(
    state: State = DEFAULT_STATE,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for running jobs.")
    ] = 300.0,
) -> None:
    """Take no new jobs and wait until none runs; Ctrl-C or a timeout undoes it."""
    with _exit_on_problems(), _drain(state) as drain:
        drain.begin()
        try:
            _await_end(drain, timeout)
        except BaseException:
            drain.end()
            say("New jobs are taken again.", err=True)
            raise
    say("Nothing runs, and everything that ended is on record. Stop the stack, or `aether resume`.")


def resume_command(state: State = DEFAULT_STATE) -> None:
    """Take jobs again after `aether drain`."""
    with _exit_on_problems(), _drain(state) as drain:
        was_draining = drain.end()
    say("New jobs are taken again." if was_draining else "The stack was not draining.")


def is_draining(settings: Settings) -> bool:
    """Say whether the stack takes no new jobs; False where Redis does not answer."""
    redis = redis_probe(settings)
    try:
        return Drain(redis).since_s() is not None
    except CoordinatorUnavailable:
        return False
    finally:
        redis.connection_pool.disconnect()


def _await_end(drain: Drain, timeout_s: float) -> None:
    """Wait until nothing runs.

    Raises:
        CannotRun: something still ran after the timeout.
    """
    deadline = time.monotonic() + timeout_s
    with _console.status("") as status:
        while not (left := drain.progress()).is_done:
            status.update(f"{left.running} jobs run, {left.unrecorded} are being recorded …")
            if time.monotonic() > deadline:
                raise CannotRun(
                    f"After {timeout_s:g} s {left.running} jobs still run and {left.unrecorded} "
                    "are not on record."
                )
            time.sleep(_POLL_S)


@contextmanager
def _drain(state: Path) -> Iterator[Drain]:
    settings = command_settings(StateDirectory(state.resolve()))
    redis = redis_client(settings, name="aether-ops", answer_timeout_s=5.0)
    try:
        yield Drain(redis)
    finally:
        redis.connection_pool.disconnect()


@contextmanager
def _exit_on_problems() -> Iterator[None]:
    """Print what the operator can act on to standard error and exit with 1."""
    try:
        yield
    except (CannotRun, CannotMigrate, OtherFormat) as error:
        problem = str(error)
    except ServiceUnavailable as error:
        problem = error.message
    else:
        return
    say(problem, err=True)
    raise typer.Exit(1)
