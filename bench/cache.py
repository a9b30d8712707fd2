"""`python -m bench.cache`: hit rates and hits per second of a stack's response cache.

A hit rate says more about the traffic than about the cache, so each one is printed with its
workload.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from bench import load
from bench.client import Connection, Measured, Refused, Target
from bench.scenarios import sign_in
from bench.stack import Bench, running

_PATH = "/api/ai/v4/chat/optimized"
_WAIT = {"Prefer": "wait=30"}
_CONCURRENCY = 4
_BUSY = 503
_RETRY_AFTER_S = 1.0
_TRIES = 20
#: Of the Zipf distribution; 1 fits the questions of a help desk or a site search.
_EXPONENT = 1.0


@dataclass(frozen=True)
class Workload:
    """Questions in the order they are asked, and the hit rate that is promised, if any."""

    name: str
    questions: list[str]
    at_least: float | None = None


@dataclass
class Replay:
    """The result of one workload.

    Attributes:
        layers: jobs by the layer that answered them, or by `cache.status` where none did.
        seconds: the latencies of these jobs.
    """

    layers: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    upstream_calls: int = 0
    cost_usd: float = 0.0
    saved_usd: float = 0.0

    @property
    def requests(self) -> int:
        return self.layers.total()

    @property
    def hit_rate(self) -> float:
        return 1 - self.layers["miss"] / self.requests


def workloads(seed: int, size: int) -> list[Workload]:
    """Return the three workloads, each of about `size` requests."""
    chooser = random.Random(seed)
    return [
        Workload("closed set, Zipf, 25 % one-offs", _closed_set(chooser, size), 0.60),
        Workload("each question 7 times", _frequent(chooser, size), 0.85),
        Workload("chat, 1 % repeats", _chat(chooser, size)),
    ]


def _closed_set(chooser: random.Random, size: int) -> list[str]:
    keys = max(1, size // 15)
    weights = [1 / rank**_EXPONENT for rank in range(1, keys + 1)]
    once = itertools.count()
    return [
        f"one-off {next(once)}"
        if chooser.random() < 0.25
        else f"closed {chooser.choices(range(keys), weights)[0]}"
        for _ in range(size)
    ]


def _frequent(chooser: random.Random, size: int) -> list[str]:
    questions = [f"frequent {number}" for number in range(size // 7)] * 7
    chooser.shuffle(questions)
    return questions


def _chat(chooser: random.Random, size: int) -> list[str]:
    asked: list[str] = []
    for number in range(size):
        repeats = asked and chooser.random() < 0.01
        asked.append(chooser.choice(asked) if repeats else f"chat {number}")
    return asked


async def replay(bench: Bench, workload: Workload, seed: int) -> Replay:
    """Ask every question as one user, four at a time."""
    (user,) = await sign_in(bench, 1)
    result, before = Replay(), _upstream_calls(bench.stub)
    pending = iter(workload.questions)

    async def client() -> None:
        connection = await Connection.open(bench.api)
        for question in pending:
            began_s = time.perf_counter()
            body = {"message": f"{workload.name} {seed}: {question}"}
            job = _job(await connection.post(_PATH, body, user | _WAIT))
            layer = job["cache"]["layer"] or job["cache"]["status"]
            result.seconds[layer].append(time.perf_counter() - began_s)
            result.layers[layer] += 1
            result.cost_usd += job["cost"]["usd"]
            result.saved_usd += job["cost"]["saved_usd"]
        connection.close()

    await asyncio.gather(*(client() for _ in range(_CONCURRENCY)))
    result.upstream_calls = _upstream_calls(bench.stub) - before
    return result


async def hits(bench: Bench, *, concurrency: int, seconds: float) -> Measured:
    """Measure requests whose answer is in the cache.

    Raises:
        RuntimeError: one of them missed.
    """
    (user,) = await sign_in(bench, 1)
    body = {"message": "Asked again and again"}
    connection = await Connection.open(bench.api)
    await connection.post(_PATH, body, user | _WAIT)
    connection.close()

    async def one(connection: Connection, _: int) -> None:
        if b'"status":"hit"' not in await connection.post(_PATH, body, user):
            raise RuntimeError("a request whose answer is in the cache missed")

    return await load.closed_loop(
        bench.api, one, concurrency=concurrency, seconds=seconds, parts=bench.parts()
    )


async def at_once(bench: Bench, *, jobs: int) -> Counter[str]:
    """Submit identical jobs at once; return their number by `cache.status`, and the calls made.

    A request that is refused with 503 is repeated after a second, as its `Retry-After` says.
    """
    users = await sign_in(bench, -(-jobs // 10))
    before = _upstream_calls(bench.stub)
    body = {"message": "Asked by all at once [[stub:tokens=40 gap_ms=50]]"}
    answered = Counter[str]()

    async def ask(number: int) -> None:
        headers = users[number // 10] | {"Prefer": "wait=60"}
        for _ in range(_TRIES):
            connection = await Connection.open(bench.api)
            try:
                job = _job(await connection.post(_PATH, body, headers))
                answered[str(job["cache"]["status"])] += 1
                return
            except Refused as error:
                if error.status != _BUSY:
                    raise
                answered["refused at first"] += 1
                await asyncio.sleep(_RETRY_AFTER_S)
            finally:
                connection.close()
        raise RuntimeError(f"the server refused a request {_TRIES} times with {_BUSY}")

    await asyncio.gather(*(ask(number) for number in range(jobs)))
    answered["calls"] = _upstream_calls(bench.stub) - before
    return answered


def _job(answer: bytes) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(answer)
    if job.get("status") != "completed":
        raise RuntimeError(f"a job did not complete: {answer[:500]!r}")
    return job


def _upstream_calls(stub: Target) -> int:
    return int(httpx.get(f"http://127.0.0.1:{stub.port}/stub/stats").json()["requests"])


def main() -> int:
    """Run all measurements and print them; return 1 when a promised figure is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000, help="of each workload")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=1_000, help="identical jobs at once")
    parser.add_argument("--seconds", type=float, default=8.0, help="of measuring hits per second")
    options = parser.parse_args()
    console, missed = Console(), list[str]()
    with running(workers=2, api_processes=2, AETHER_CACHE_SCOPE="shared") as bench:
        table = _table()
        for workload in workloads(options.seed, options.requests):
            result = asyncio.run(replay(bench, workload, options.seed))
            for row in _rows(workload, result):
                table.add_row(*row)
            if workload.at_least is not None and result.hit_rate < workload.at_least:
                missed.append(f"{workload.name}: {result.hit_rate:.1%} < {workload.at_least:.0%}")
        console.print(table)
        alone = asyncio.run(hits(bench, concurrency=1, seconds=options.seconds / 2))
        many = asyncio.run(hits(bench, concurrency=16, seconds=options.seconds))
        console.print(
            f"answers from the cache: {alone.percentile_ms(0.5):.1f} ms p50 one at a time, "
            f"{many.per_second:.0f}/s with 16 at once (goals: 8 ms, 700/s on 2 cores)"
        )
        used_ms = sum(many.cpu_ms.values())
        console.print(
            f"  each used {used_ms:.2f} ms of processor time, so 2 cores have room for "
            f"{2_000 / used_ms:.0f}/s; other processes used {many.others_cores:.2f} cores meanwhile"
        )
        answered = asyncio.run(at_once(bench, jobs=options.at_once))
        console.print(f"{options.at_once} identical jobs at once: {dict(answered)}")
        missed += [] if answered["calls"] == 1 else [f"{answered['calls']} calls instead of one"]
    for problem in missed:
        print(f"bench: {problem}", file=sys.stderr)
    return 1 if missed else 0


def _table() -> Table:
    titles = ("workload", "answered by", "jobs", "share", "p50 ms", "calls", "paid $", "saved $")
    table = Table(*titles)
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _rows(workload: Workload, result: Replay) -> Iterator[tuple[str, ...]]:
    yield (
        workload.name,
        "cache" + (f" (at least {workload.at_least:.0%})" if workload.at_least else ""),
        str(result.requests - result.layers["miss"]),
        f"{result.hit_rate:.1%}",
        "",
        str(result.upstream_calls),
        f"{result.cost_usd:.4f}",
        f"{result.saved_usd:.4f}",
    )
    for layer, count in result.layers.most_common():
        median_ms = statistics.median(result.seconds[layer]) * 1000
        share = f"{count / result.requests:.1%}"
        yield "", layer, str(count), share, f"{median_ms:.1f}", "", "", ""


if __name__ == "__main__":
    sys.exit(main())
