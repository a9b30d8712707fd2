"""`python -m bench`: measures a stack on this machine and prints tables of medians."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import scenarios
from bench.proxy import running_proxy
from bench.stack import Bench, floor_worker, running

_CONCURRENCY = 50
_STREAMS = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round instead of three")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--litellm", type=Path, help="a litellm executable to compare with")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rounds, seconds = (1, 3.0) if options.quick else (3, 8.0)
    console = Console()
    with running(workers=options.workers, first_token_ms=20, tokens=10, gap_ms=0) as bench:
        figures = _one_at_a_time(bench, rounds)
        figures |= _throughput(bench, rounds, seconds, options.litellm)
    with running(workers=options.workers, first_token_ms=20, tokens=10, gap_ms=20) as bench:
        figures |= _first_token(bench, rounds)
    console.print(_table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _one_at_a_time(bench: Bench, rounds: int) -> dict[str, float]:
    runs = [asyncio.run(scenarios.jobs(bench, concurrency=1, seconds=4.0)) for _ in range(rounds)]
    return {
        "one job at a time, p50, ms": _median(run.percentile_ms(0.5) for run in runs),
        "one job at a time, p95, ms": _median(run.percentile_ms(0.95) for run in runs),
    }


def _throughput(
    bench: Bench, rounds: int, seconds: float, litellm: Path | None
) -> dict[str, float]:
    """Measure Aether, the floor and the proxy in turn, so that a slow moment hits them alike."""
    ours, bare, proxied = [], [], []
    cpu: dict[str, list[float]] = {}
    for _ in range(rounds):
        before = bench.cpu_seconds()
        run = asyncio.run(scenarios.jobs(bench, concurrency=_CONCURRENCY, seconds=seconds))
        after = bench.cpu_seconds()
        ours.append(run)
        jobs = run.per_second * (seconds + 2)
        for name, used in after.items():
            cpu.setdefault(name, []).append((used - before[name]) * 1000 / jobs)
        with floor_worker(bench):
            bare.append(scenarios.floor(bench, concurrency=_CONCURRENCY, seconds=seconds))
        if litellm is not None:
            with running_proxy(litellm, bench.stub) as target:
                loop = scenarios.proxy(target, concurrency=_CONCURRENCY, seconds=seconds)
                proxied.append(asyncio.run(loop).per_second)
    figures = {
        "50 at once, jobs/s": _median(run.per_second for run in ours),
        "50 at once, p50, ms": _median(run.percentile_ms(0.5) for run in ours),
        "50 at once, p95, ms": _median(run.percentile_ms(0.95) for run in ours),
        "floor, jobs/s": _median(bare),
        "ratio to the floor": _median(
            run.per_second / floor for run, floor in zip(ours, bare, strict=True)
        ),
    }
    if proxied:
        figures["LiteLLM proxy, requests/s"] = _median(proxied)
    return figures | {f"CPU of {name}, ms/job": _median(used) for name, used in cpu.items()}


def _first_token(bench: Bench, rounds: int) -> dict[str, float]:
    overheads, totals = [], []
    for _ in range(rounds):
        ours, direct = asyncio.run(scenarios.first_tokens(bench, concurrency=_STREAMS, rounds=10))
        totals.append(ours.percentile_ms(0.5))
        overheads.append(ours.percentile_ms(0.5) - direct.percentile_ms(0.5))
    return {
        "10 streams, first token, p50, ms": _median(totals),
        "10 streams, first token over the upstream's own, p50, ms": _median(overheads),
    }


def _median(values) -> float:
    return round(statistics.median(values), 2)


def _table(figures: dict[str, float]) -> Table:
    table = Table("figure", "median", title="Aether on this machine")
    for name, value in figures.items():
        table.add_row(name, f"{value:g}")
    return table


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"bench: {error}")
