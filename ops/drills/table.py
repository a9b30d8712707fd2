"""How drills are shown to their operator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from ops.drills.actions import counted
from ops.drills.registry import Drill
from ops.drills.run import Result

#: Of violations that say the same of many jobs, a few are enough to begin with.
_SHOWN: Final = 12
_FIGURES: Final = ("accepted", "terminal", "lost", "duplicated", "stuck", "unbilled")


def show_drills(drills: Iterable[Drill], console: Console) -> None:
    table = Table("drill", "what it does", "staging only", box=box.SIMPLE)
    for drill in drills:
        table.add_row(drill.name, drill.does, "yes" if drill.is_disruptive else "")
    console.print(table)


def show_results(results: Iterable[Result], console: Console) -> None:
    """Show one row of figures for each drill, with its outcome."""
    table = Table("drill", box=box.SIMPLE, padding=(0, 0))
    for column in (*_FIGURES, "recovery s"):
        table.add_column(column, justify="right")
    for result in results:
        style = "green" if result.verdict.has_passed else "red"
        figures = [str(getattr(result.verdict, name)) for name in _FIGURES]
        table.add_row(f"[{style}]{result.drill}[/]", *figures, f"{result.recovery_s:.1f}")
    console.print(table)


def show_details(result: Result, console: Console) -> None:
    """Show what the figures leave open: how the jobs ended, what was seen, what is broken."""
    errors = f" ({counted(result.errors)})" if result.errors else ""
    violations = result.verdict.violations
    lines = [f"ended: {counted(result.statuses)}{errors}", *result.notes]
    lines += [f"broken  {found.of} {found.what}" for found in violations[:_SHOWN]]
    if len(violations) > _SHOWN:
        lines.append(f"broken  and {len(violations) - _SHOWN} more")
    for line in lines:
        style = "red" if line.startswith("broken") else ""
        console.print(f"  {line}", style=style, highlight=False, soft_wrap=True, markup=False)
