"""`aether ledger`: whether ledger, records and sums agree, and making them agree again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from core.errors import ServiceUnavailable
from core.money import to_usd
from core.timing import now_ms
from ops.stack.running import command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import PlainConsole, say
from storage.connections import close_all, mongo_database, redis_client
from storage.records.ledger import month_of
from storage.records.reconciliation import Reconciliation

State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
Month = Annotated[
    str,
    typer.Option(help="Of the jobs that were created in this month (UTC), yyyymm."),
]
User = Annotated[str, typer.Option(help="Only this user's jobs, by his id.")]
ledger_app = typer.Typer(no_args_is_help=True, help="Compare the ledger with jobs and sums.")
_console = PlainConsole()
_ANSWER_TIMEOUT_S = 10.0


@ledger_app.command()
def verify(state: State = DEFAULT_STATE, month: Month = "", user: User = "") -> None:
    """Compare settlements, jobs and Redis's sums of a month; status 1 where they differ."""
    with _reconciliation(state) as reconciliation:
        report = reconciliation.verify(_month(month), user or None)
    _console.print(
        f"{report.month}: {report.jobs} ended jobs, ${to_usd(report.micros):.6f} in the ledger."
    )
    if report.deleted_micros:
        _console.print(f"${to_usd(report.deleted_micros):.6f} of that is of deleted accounts.")
    if report.reruns:
        _console.print(
            f"{report.reruns} ends were paid again after a loss of Redis (rerun_after_loss)."
        )
    if report.in_flight:
        _console.print(
            f"{report.in_flight} ends wait for their record; sums in Redis were not compared."
        )
    for difference in report.differences:
        say(f"{difference.of} {difference.what}.", err=True)
    if report.differences:
        say("They differ; ./aether ledger rebuild sets the sums by the ledger.", err=True)
        raise typer.Exit(1)
    _console.print("All agree.")


@ledger_app.command()
def rebuild(state: State = DEFAULT_STATE, month: Month = "") -> None:
    """Add settlements that ended jobs lack and set Redis's sums of a month by the ledger."""
    with _reconciliation(state) as reconciliation:
        rebuilt = reconciliation.rebuild(_month(month))
    _console.print(
        f"{rebuilt.settlements} settlements added, the sums of {rebuilt.users} users set."
    )
    if rebuilt.busy:
        say(
            f"The jobs of {', '.join(rebuilt.busy)} kept ending meanwhile: their sums are as they "
            "were. Run it again, after ./aether drain if need be.",
            err=True,
        )
        raise typer.Exit(1)


@contextmanager
def _reconciliation(state: Path) -> Iterator[Reconciliation]:
    try:
        settings = command_settings(StateDirectory(state.resolve()))
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
    database = mongo_database(settings)
    redis = redis_client(settings, name="aether-ops", answer_timeout_s=_ANSWER_TIMEOUT_S)
    try:
        yield Reconciliation(redis, database)
    except ServiceUnavailable as error:
        say(error.message, err=True)
        raise typer.Exit(1) from error
    finally:
        close_all(database, redis)


def _month(given: str) -> str:
    month = given or month_of(now_ms())
    if not re.fullmatch(r"\d{4}(0[1-9]|1[0-2])", month):
        say(f"--month must be a year and a month such as {month_of(now_ms())}.", err=True)
        raise typer.Exit(2)
    return month
