"""Figures and their report: medians, the runs that they come from, goals."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One quantity over all runs.

    Attributes:
        at_most, at_least: the goal, where there is one.
    """

    name: str
    unit: str
    runs: list[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def goal(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    @property
    def is_met(self) -> bool | None:
        """Say whether the median reaches the goal; None without one."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least


@dataclass
class Report:
    """The results of one call of the benchmarks.

    Attributes:
        cpu_ms: per load and part, the processor time per job of each run.
        others_cpu: cores that processes of no part of the benchmark used, per measured run.
    """

    figures: list[Figure] = field(default_factory=list)
    cpu_ms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    others_cpu: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add_cpu(self, load: str, per_job_ms: dict[str, float]) -> None:
        for part, used_ms in per_job_ms.items():
            self.cpu_ms.setdefault(load, {}).setdefault(part, []).append(used_ms)

    def to_json(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "figures": [
                {
                    "name": figure.name,
                    "unit": figure.unit,
                    "median": round(figure.median, 3),
                    "runs": [round(run, 3) for run in figure.runs],
                    "goal": figure.goal,
                    "met": figure.is_met,
                }
                for figure in self.figures
            ],
            "cpu_ms_per_job": self.cpu_ms,
            "cores_used_by_others": self.others_cpu,
            "notes": self.notes,
            "failed": self.failed,
        }


def machine() -> str:
    """Describe the machine that the benchmarks ran on."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}"
    )


def show(report: Report, console: Console) -> None:
    """Print the figures, the processor time by load and part, and the notes."""
    if report.figures:
        console.print(_figures_table(report.figures))
    if report.cpu_ms:
        console.print(_cpu_table(report.cpu_ms))
    for note in report.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _figures_table(figures: list[Figure]) -> Table:
    table = Table(title=machine())
    for heading in ("figure", "unit"):
        table.add_column(heading)
    for heading in ("median", "runs", "goal", "met"):
        table.add_column(heading, justify="right")
    for figure in figures:
        met = {None: "", True: "yes", False: "NO"}[figure.is_met]
        runs = " ".join(f"{run:.4g}" for run in figure.runs)
        table.add_row(figure.name, figure.unit, f"{figure.median:.4g}", runs, figure.goal, met)
    return table


def _cpu_table(cpu_ms: dict[str, dict[str, list[float]]]) -> Table:
    table = Table("part", title="Processor time, ms per job, medians")
    for load in cpu_ms:
        table.add_column(load, justify="right")
    medians = {
        load: {part: statistics.median(runs) for part, runs in parts.items()}
        for load, parts in cpu_ms.items()
    }
    for part in dict.fromkeys(part for parts in medians.values() for part in parts):
        cells = (parts.get(part) for parts in medians.values())
        table.add_row(part, *("" if cell is None else f"{cell:.2f}" for cell in cells))
    table.add_section()
    table.add_row("all", *(f"{sum(parts.values()):.2f}" for parts in medians.values()))
    return table
