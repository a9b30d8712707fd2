"""`aether routing`: what cheaper answers were worth, by route."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from core.comparisons import RouteWorth
from core.errors import StoreUnavailable
from core.money import to_usd
from core.settings import read_settings
from ops.stack.resolve import running_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from storage.connections import mongo_database
from storage.records.comparisons import Comparisons

_DAY_MS: Final = 86_400_000
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
_console = Console()


def routing_command(
    state: State = DEFAULT_STATE,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far to look back.")] = 30,
) -> None:
    """Show regret and saving of each route."""
    since_ms = int(time.time() * 1000) - days * _DAY_MS
    routes = _read(state, since_ms)
    if not routes:
        _console.print(f"Nothing was compared in {days} days.")
        return
    table = Table("tier", "model", box=None)
    for title in ("compared", "regret", "wins", "ties", "cost", "deep", "saved", "judging"):
        table.add_column(title, justify="right", no_wrap=True)
    for route in routes:
        table.add_row(*_cells(route))
    _console.print(table)


def _cells(route: RouteWorth) -> tuple[str, ...]:
    costs = (
        route.cost_micros,
        route.deep_cost_micros,
        route.saved_micros,
        route.judging_cost_micros,
    )
    return (
        route.tier,
        route.model,
        f"{route.compared:,}",
        f"{route.regret:.1%}",
        f"{route.better:,}",
        f"{route.ties:,}",
        *(f"${to_usd(micros):,.6f}" for micros in costs),
    )


def _read(state: Path, since_ms: int) -> list[RouteWorth]:
    """Ask the running stack's database, or that of the settings in the environment."""
    try:
        settings = running_settings(read_settings(), StateDirectory(state.resolve()))
        return Comparisons(mongo_database(settings)).worth_by_route(since_ms=since_ms)
    except (CannotRun, ValidationError) as error:
        typer.echo(str(error), err=True)
    except StoreUnavailable as error:
        typer.echo(error.message, err=True)
    raise typer.Exit(1)
