"""`aether queues`: what waits and runs, by queue and by user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from core.errors import CoordinatorUnavailable
from ops.stack.running import command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import PlainConsole, say
from storage.connections import redis_probe
from storage.jobs.overview import Line, Overview
from storage.loop_reports import LoopReports

State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
_console = PlainConsole()
#: What a worker's program is called before its number.
_WORKER: Final = "worker"


def queues_command(
    state: State = DEFAULT_STATE,
    users: Annotated[int, typer.Option(min=0, help="How many users at most.")] = 20,
) -> None:
    """Show what waits and runs by queue and by user, and how long the oldest has waited."""
    try:
        settings = command_settings(StateDirectory(state.resolve()))
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
    redis = redis_probe(settings)
    try:
        by_kind, by_user = Overview(redis).lines()
        readers = [
            report.worker
            for report in LoopReports(redis).read()
            if report.program.startswith(_WORKER)
        ]
    except CoordinatorUnavailable:
        say("Redis does not answer, so there is nothing to show.", err=True)
        raise typer.Exit(1) from None
    finally:
        redis.connection_pool.disconnect()
    _show("queue", [(f"chat.{line.name}", line, str(len(readers))) for line in by_kind], "readers")
    if by_user:
        _console.print()
        _show("user", [(line.name, line) for line in by_user[:users]])
    if len(by_user) > users:
        say(f"and {len(by_user) - users} users more; see --users")


def _show(title: str, rows: Sequence[tuple[str, Line, *tuple[str, ...]]], *more: str) -> None:
    table = Table(title, "waiting", "running", "oldest", *more, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, line, *rest in rows:
        oldest = "" if line.oldest_s is None else f"{line.oldest_s:,.0f} s"
        table.add_row(name, f"{line.waiting:,}", f"{line.running:,}", oldest, *rest)
    _console.print(table)
