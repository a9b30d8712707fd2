"""How drills are shown to their operator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from ops.drills.registry import Drill
from ops.drills.run import Result

#: Of violations that say the same of many jobs, a few are enough to begin with.
_SHOWN: Final = 12
_COLUMNS: Final = ("accepted", "terminal", "lost", "duplicated", "stuck", "unbilled", "recovery s")


def show_drills(drills: Iterable[Drill], console: Console) -> None:
    table = Table("drill", "what it does", "staging only", box=box.SIMPLE)
    for drill in drills:
        table.add_row(drill.name, drill.does, "yes" if drill.is_disruptive else "")
    console.print(table)


def show_results(results: Iterable[Result], console: Console) -> None:
    """Show one row of figures for each drill, with its outcome."""
    table = Table("drill", box=box.SIMPLE, padding=(0, 0))
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for result in results:
        style = "green" if result.verdict.has_passed else "red"
        table.add_row(f"[{style}]{result.drill}[/]", *_figures(result))
    console.print(table)


def show_details(result: Result, console: Console) -> None:
    """Show what the figures leave open: how the jobs ended, what was seen, what is broken."""
    ended = _counted(result.statuses.items())
    errors = _counted(result.errors.items())
    console.print(
        f"  ended: {ended}{f' ({errors})' if errors else ''}", highlight=False, soft_wrap=True
    )
    for note in result.notes:
        console.print(f"  {note}", highlight=False, soft_wrap=True, markup=False)
    violations = result.verdict.violations
    for violation in violations[:_SHOWN]:
        console.print(
            f"  [red]broken[/]  {violation.of} {violation.what}", highlight=False, soft_wrap=True
        )
    if len(violations) > _SHOWN:
        console.print(
            f"  [red]broken[/]  and {len(violations) - _SHOWN} more",
            highlight=False,
            soft_wrap=True,
        )


def _figures(result: Result) -> list[str]:
    verdict = result.verdict
    counts = (
        verdict.accepted,
        verdict.terminal,
        verdict.lost,
        verdict.duplicated,
        verdict.stuck,
        verdict.unbilled,
    )
    return [*map(str, counts), f"{result.recovery_s:.1f}"]


def _counted(items: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(items))
