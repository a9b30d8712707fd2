"""The measurements by name: each repeats its loads and adds its figures to the report."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import scenarios
from bench.client import Measured
from bench.figures import Figure, Report
from bench.proxy import running_proxy
from bench.stack import Bench, floor_worker
from bench.turns import queue_times
from ops.stack.state import CannotRun

CONCURRENCY = 50
STREAMS = 10
#: Raised when a part does not start, does not answer or ends early.
FAILURES = (RuntimeError, OSError, EOFError, ValueError, CannotRun, subprocess.SubprocessError)


@dataclass(frozen=True)
class Plan:
    """How often and how long to measure; `litellm` is the proxy's executable, if there is one."""

    runs: int = 3
    seconds: float = 8.0
    requests_in_turn: int = 100
    rounds_per_stream: int = 10
    litellm: Path | None = None

    @classmethod
    def quick(cls, litellm: Path | None) -> Plan:
        return cls(1, 3.0, 30, 5, litellm)


def latency(bench: Bench, plan: Plan, report: Report) -> None:
    """Time one job at a time, from its submission to the answer in the client's hand."""
    runs = [
        asyncio.run(scenarios.jobs_in_turn(bench, requests=plan.requests_in_turn))
        for _ in range(plan.runs)
    ]
    name = "one job at a time, submit to answer"
    report.figures += [
        Figure(f"{name}, p50", "ms", _percentiles_ms(runs, 0.5), at_most=45),
        Figure(f"{name}, p95", "ms", _percentiles_ms(runs, 0.95)),
    ]


def throughput(bench: Bench, plan: Plan, report: Report) -> None:
    """Keep 50 requests in flight at Aether, the floor and the proxy, one after another.

    Each run loads all three, so that a slow minute of the machine does not distort the ratios.
    """
    ours: list[Measured] = []
    floors: list[Measured] = []
    proxied: list[Measured] = []
    for _ in range(plan.runs):
        load = scenarios.jobs(bench, concurrency=CONCURRENCY, seconds=plan.seconds)
        ours.append(_noted(report, "Aether", asyncio.run(load)))
        floors.append(_noted(report, "floor", _floor(bench, plan)))
        if plan.litellm is not None and len(proxied) == len(ours) - 1:
            # The figures without the proxy are good even if the proxy does not run.
            try:
                proxied.append(_noted(report, "LiteLLM", _proxy(bench, plan, plan.litellm)))
            except FAILURES as error:
                report.failed.append(f"LiteLLM's proxy failed to run: {error}")
    report.figures += [
        Figure("50 at once, Aether", "jobs/s", _rates(ours), at_least=165),
        Figure("50 at once, p50", "ms", _percentiles_ms(ours, 0.5)),
        Figure("50 at once, p95", "ms", _percentiles_ms(ours, 0.95)),
        Figure("50 at once, floor", "jobs/s", _rates(floors)),
        Figure("Aether / floor", "ratio", _ratios(ours, floors), at_least=0.6),
    ]
    if len(proxied) == len(ours):
        report.figures += [
            Figure("50 at once, LiteLLM's proxy", "requests/s", _rates(proxied)),
            Figure("Aether / LiteLLM's proxy", "ratio", _ratios(ours, proxied), at_least=1),
        ]
    elif plan.litellm is None:
        report.notes.append("LiteLLM's proxy was not measured; --litellm says where it is.")


def first_token(bench: Bench, plan: Plan, report: Report) -> None:
    """Time the first piece of text of 10 streams at once, and the upstream's share of it."""
    pairs = [
        asyncio.run(
            scenarios.first_tokens(bench, concurrency=STREAMS, rounds=plan.rounds_per_stream)
        )
        for _ in range(plan.runs)
    ]
    ours = _percentiles_ms([pair[0] for pair in pairs], 0.5)
    direct = _percentiles_ms([pair[1] for pair in pairs], 0.5)
    over = [mine - bare for mine, bare in zip(ours, direct, strict=True)]
    report.figures += [
        Figure("10 streams, first token, p50", "ms", ours),
        Figure("10 streams, the upstream's own, p50", "ms", direct),
        Figure("10 streams, overhead at the median", "ms", over, at_most=15),
    ]


def team(bench: Bench, plan: Plan, report: Report) -> None:
    """Time five agents at once and a synthesis, 300 ms a call; one by one they take 1.8 s."""
    load = scenarios.team_jobs_in_turn
    runs = [asyncio.run(load(bench, requests=plan.requests_in_turn // 5)) for _ in range(plan.runs)]
    name = "five agents and a synthesis of 300 ms each"
    report.figures += [
        Figure(f"{name}, p50", "ms", _percentiles_ms(runs, 0.5), at_most=750),
        Figure(f"{name}, p95", "ms", _percentiles_ms(runs, 0.95)),
    ]


def fairness(bench: Bench, plan: Plan, report: Report) -> None:
    """Time how long a user's quick jobs wait for a worker, alone and behind 160 jobs of others."""
    requests = plan.requests_in_turn // 5
    pairs = [asyncio.run(queue_times(bench, requests=requests)) for _ in range(plan.runs)]
    alone = _percentiles_ms([pair[0] for pair in pairs], 0.95)
    behind = _percentiles_ms([pair[1] for pair in pairs], 0.95)
    more = [later - first for first, later in zip(alone, behind, strict=True)]
    name = "a quick job's wait for a worker"
    report.figures += [
        Figure(f"{name}, alone, p95", "ms", alone),
        Figure(f"{name}, behind 160 jobs of 16 users, p95", "ms", behind),
        Figure(f"{name}, behind them and not alone", "ms", more, at_most=100),
    ]


MEASUREMENTS: dict[str, Callable[[Bench, Plan, Report], None]] = {
    "latency": latency,
    "throughput": throughput,
    "first_token": first_token,
    "team": team,
    "fairness": fairness,
}


def _floor(bench: Bench, plan: Plan) -> Measured:
    with floor_worker(bench) as parts:
        return scenarios.floor(bench, parts, concurrency=CONCURRENCY, seconds=plan.seconds)


def _proxy(bench: Bench, plan: Plan, executable: Path) -> Measured:
    with running_proxy(executable, bench.stub) as proxy:
        parts = bench.parts() | proxy.parts
        load = scenarios.proxy(proxy, concurrency=CONCURRENCY, seconds=plan.seconds, parts=parts)
        return asyncio.run(load)


def _noted(report: Report, load: str, measured: Measured) -> Measured:
    report.add_cpu(load, measured.cpu_ms)
    report.others_cpu.append(round(measured.others_cores, 3))
    return measured


def _rates(runs: list[Measured]) -> list[float]:
    return [run.per_second for run in runs]


def _percentiles_ms(runs: list[Measured], share: float) -> list[float]:
    return [run.percentile_ms(share) for run in runs]


def _ratios(ours: list[Measured], theirs: list[Measured]) -> list[float]:
    return [a.per_second / b.per_second for a, b in zip(ours, theirs, strict=True)]
