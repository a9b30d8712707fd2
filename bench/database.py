"""`python -m bench.database`: the product's queries with and without their indexes, and writes.

It starts the embedded server in a folder of its own, unless `--url` names another one, and fills a
database that it drops at the end.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from bench.database_rows import fill, one_job
from bench.queries import QUERIES, Query, Sample
from core.ids import new_user_id
from core.jobs import JobStatus
from core.settings import Settings
from core.timing import now_ms
from ops.stack import embedded
from ops.stack.own import Child
from ops.stack.readiness import free_port, mongo_answers
from storage.connections import close_all, mongo_database
from storage.records.indexes import COLLECTIONS, ensure_indexes
from storage.records.jobs import JobRecords

if TYPE_CHECKING:
    from pymongo.database import Database

    Records = Database[dict[str, Any]]

_RUNS: Final = 7
_WRITERS: Final = 16
_WRITE_S: Final = 10.0
_RATE_PER_S: Final = 300
_BATCH: Final = 64
_COST_JOBS: Final = 512
#: A query without an index may read everything.
_ANSWER_TIMEOUT_S: Final = 120.0
_DATABASE: Final = "aether_bench"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.database", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000, help="in the database")
    parser.add_argument("--url", default="", help="a MongoDB to measure instead")
    options = parser.parse_args()
    console = Console()
    with server(options.url) as url, database_at(url) as database:
        ensure_indexes(database)
        began_s = time.monotonic()
        sample = fill(database, options.jobs)
        console.print(f"{options.jobs} jobs filled in {time.monotonic() - began_s:.0f} s.")
        _show_queries(database, sample, console)
        _show_writes(database, sample, console)


def _show_queries(database: Records, sample: Sample, console: Console) -> None:
    """Measure each query with its index and then without, index by index."""
    table = Table("query", "index", "with ms", "without ms", "faster by")
    having = sorted(
        (query for query in QUERIES if query.index),
        key=lambda query: (query.collection, query.index),
    )
    for (collection, index), group in groupby(
        having, lambda query: (query.collection, query.index)
    ):
        queries = list(group)
        with_ms = [_median_ms(query, database, sample) for query in queries]
        database[collection].drop_index(index)
        without_ms = [_median_ms(query, database, sample) for query in queries]
        ensure_indexes(database)
        for query, fast, slow in zip(queries, with_ms, without_ms, strict=True):
            saved = f"{1 - fast / slow:.0%}"
            name = query.name + (" *" if query.is_scanned_embedded else "")
            table.add_row(name, f"{collection}.{index}", f"{fast:.2f}", f"{slow:.2f}", saved)
    console.print(table)
    console.print("* the embedded server's planner takes no index for it.")


def _median_ms(query: Query, database: Records, sample: Sample) -> float:
    query.run(database, sample)
    return statistics.median(_ms(lambda: query.run(database, sample)) for _ in range(_RUNS))


def _ms(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return (time.perf_counter() - began_s) * 1000


def _show_writes(database: Records, sample: Sample, console: Console) -> None:
    rate = _inserts_per_s(database)
    console.print(f"{rate:.0f} accepted jobs a second with {_WRITERS} threads, majority writes.")
    console.print(f"{_finished_per_s(database):.0f} ended jobs a second in batches of {_BATCH}.")
    _show_under_load(database, sample, console)
    _show_index_cost(database, console)


def _inserts_per_s(database: Records) -> float:
    """Accept jobs on many threads, which share batches as in the API."""
    records = JobRecords(database, insert_s=_ANSWER_TIMEOUT_S)
    until_s = time.monotonic() + _WRITE_S

    def write(_: int) -> int:
        count, user_id = 0, new_user_id()
        while time.monotonic() < until_s:
            records.insert(one_job(user_id, now_ms(), JobStatus.QUEUED))
            count += 1
        return count

    with ThreadPoolExecutor(_WRITERS) as pool:
        return sum(pool.map(write, range(_WRITERS))) / _WRITE_S


def _finished_per_s(database: Records) -> float:
    records, count, user_id = JobRecords(database), 0, new_user_id()
    until_s = time.monotonic() + _WRITE_S
    while time.monotonic() < until_s:
        records.write_finished([one_job(user_id, now_ms()) for _ in range(_BATCH)])
        count += _BATCH
    return count / _WRITE_S


def _show_under_load(database: Records, sample: Sample, console: Console) -> None:
    """Measure each query while jobs are accepted and ended at a steady rate."""
    table = Table("query", "p95 ms")
    with _writing(database) as written:
        began_s = time.monotonic()
        for query in QUERIES:
            times = sorted(_ms(lambda q=query: q.run(database, sample)) for _ in range(20))  # type: ignore[misc]
            table.add_row(query.name, f"{times[math.ceil(len(times) * 0.95) - 1]:.1f}")
        rate = written() / (time.monotonic() - began_s)
    console.print(table)
    console.print(f"While {rate:.0f} jobs a second were accepted and ended.")


@contextmanager
def _writing(database: Records) -> Iterator[Callable[[], int]]:
    """Accept and end jobs at `_RATE_PER_S` on a thread; yields how many it were."""
    over, count = threading.Event(), [0]
    records = JobRecords(database, insert_s=_ANSWER_TIMEOUT_S)
    at_once, user_id = 15, new_user_id()

    def write() -> None:
        next_s = time.monotonic()
        while not over.is_set():
            jobs = [one_job(user_id, now_ms(), JobStatus.QUEUED) for _ in range(at_once)]
            list(pool.map(records.insert, jobs))
            ended = one_job(user_id, now_ms())
            records.write_finished([msgspec.structs.replace(ended, spec=job.spec) for job in jobs])
            count[0] += at_once
            next_s += at_once / _RATE_PER_S
            over.wait(max(0.0, next_s - time.monotonic()))

    with ThreadPoolExecutor(at_once) as pool:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield lambda: count[0]
        finally:
            over.set()
            writer.join()


def _show_index_cost(database: Records, console: Console) -> None:
    """Show the bytes of the indexes of jobs, and what they add to a job's write."""
    sizes: dict[str, int] = database.command("collStats", "jobs").get("indexSizes", {})
    table = Table("index of jobs", "bytes")
    for name, size in sizes.items():
        table.add_row(name, f"{size}")
    console.print(table)
    with_ms = _write_ms(database)
    for plan in COLLECTIONS:
        if plan.name in ("jobs", "ledger"):
            database[plan.name].drop_indexes()
    without_ms = _write_ms(database)
    console.print(
        f"An ended job's write takes {with_ms:.3f} ms, {without_ms:.3f} ms without indexes."
    )


def _write_ms(database: Records) -> float:
    """Return what the end of one job takes in a batch of `_BATCH`."""
    records, user_id = JobRecords(database), new_user_id()
    batches = [
        [one_job(user_id, now_ms()) for _ in range(_BATCH)] for _ in range(_COST_JOBS // _BATCH)
    ]
    return statistics.median(_ms(lambda b=b: records.write_finished(b)) for b in batches) / _BATCH  # type: ignore[misc]


@contextmanager
def server(url: str = "") -> Iterator[str]:
    """Yield the URL of an embedded server of one's own, unless another one is named."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name:
        folder, port = Path(name), free_port()
        own = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        command = embedded.mongo_command(port, folder / "data")
        with Child(own, command, lambda: mongo_answers(own), folder / "mongo.log", is_apart=True):
            yield own


@contextmanager
def database_at(url: str) -> Iterator[Records]:
    """Yield a database that goes away at the end."""
    settings = Settings(mongo_url=SecretStr(url), mongo_database=_DATABASE)
    database = mongo_database(settings, answer_timeout_s=_ANSWER_TIMEOUT_S)
    try:
        yield database
    finally:
        database.client.drop_database(_DATABASE)
        close_all(database)


if __name__ == "__main__":
    main()
