"""What a job costs in processor time, by program, beside the same of another commit."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import scenarios
from bench.client import Measured
from bench.figures import Figure, Report
from bench.runs import CONCURRENCY, Plan
from bench.stack import running
from ops.stack.state import ROOT

#: Parts of the load, which are charged no job.
_LOAD = ("stub", "client")
_GIT_WITHIN_S = 60


def compare_cost(
    report: Report, plan: Plan, *, before: str, workers: int, api_processes: int
) -> None:
    """Keep 50 jobs in flight at a stack of `before` and at one of this tree, in turn.

    The second pair begins with the side that came last in the first one, and so on: a machine that
    slows down by and by slows both.

    Args:
        before: a revision; its stack runs from a git worktree with this tree's packages.

    Raises:
        RuntimeError: git does not know the revision, or a job did not complete.
        CannotRun: a stack did not start.
    """
    with _worktree(before) as old:
        sides = {before: old, "this tree": ROOT}
        runs: dict[str, list[Measured]] = {name: [] for name in sides}
        for pair in range(plan.runs):
            for name in sorted(sides, key=list(sides).index, reverse=bool(pair % 2)):
                with running(
                    workers=workers, api_processes=api_processes, tree=str(sides[name])
                ) as bench:
                    load = scenarios.jobs(bench, concurrency=CONCURRENCY, seconds=plan.seconds)
                    measured = asyncio.run(load)
                report.add_cpu(name, measured.cpu_ms)
                report.others_cpu.append(round(measured.others_cores, 3))
                runs[name].append(measured)
    for name, measured_runs in runs.items():
        report.figures += [
            Figure(f"{name}: a job's processor time", "ms", [cost_ms(m) for m in measured_runs]),
            Figure(f"{name}: 50 at once", "jobs/s", [m.per_second for m in measured_runs]),
        ]
    pairs = list(zip(runs[before], runs["this tree"], strict=True))
    report.figures += [
        Figure(
            "processor time, now / before", "ratio", [cost_ms(b) / cost_ms(a) for a, b in pairs]
        ),
        Figure("jobs/s, now / before", "ratio", [b.per_second / a.per_second for a, b in pairs]),
    ]


def cost_ms(measured: Measured) -> float:
    """Return a job's processor time over all programs of the stack, without the load's own."""
    return sum(used for part, used in measured.cpu_ms.items() if part not in _LOAD)


@contextmanager
def _worktree(revision: str) -> Iterator[Path]:
    """Check a commit out beside this tree for the block."""
    with tempfile.TemporaryDirectory(prefix="aether-before-") as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> None:
    done = subprocess.run(
        ("git", *words), cwd=ROOT, capture_output=True, text=True, timeout=_GIT_WITHIN_S
    )
    if done.returncode:
        raise RuntimeError(f"git {words[0]}: {done.stderr.strip()}")
