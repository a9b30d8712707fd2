"""Ways to load and time a server: a number of requests at once, or one after another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.client import Connection, Measured, Target
from bench.cpu import Parts, Sample

Request = Callable[[Connection, int], Awaitable[None]]

WARM_UP_S = 2.0
_WARM_UP_REQUESTS = 5
#: More than any machine answers within one run.
_MAX_REQUESTS_PER_CONNECTION = 20_000


async def closed_loop(
    target: Target, one: Request, *, concurrency: int, seconds: float, parts: Parts
) -> Measured:
    """Repeat `one` on each of `concurrency` connections for so many seconds after a warm-up.

    Requests that end in the warm-up or after the end do not count.
    """
    measured = Measured()
    begin = time.monotonic() + WARM_UP_S
    end = begin + seconds

    async def client(number: int) -> None:
        connection = await Connection.open(target)
        try:
            for _ in range(_MAX_REQUESTS_PER_CONNECTION):
                began_s = time.perf_counter()
                await one(connection, number)
                if begin <= time.monotonic() < end:
                    measured.seconds.append(time.perf_counter() - began_s)
                if time.monotonic() >= end:
                    return
        finally:
            connection.close()

    async def meter() -> None:
        await asyncio.sleep(begin - time.monotonic())
        before = Sample.take(parts)
        await asyncio.sleep(end - time.monotonic())
        complete(measured, before, Sample.take(parts))

    await asyncio.gather(meter(), *(client(number) for number in range(concurrency)))
    return measured


async def in_turn(target: Target, one: Request, *, requests: int) -> Measured:
    """Run `one` on one connection `requests` times, one after another, after a warm-up."""
    measured = Measured()
    connection = await Connection.open(target)
    try:
        for number in range(-_WARM_UP_REQUESTS, requests):
            began_s = time.perf_counter()
            await one(connection, number)
            if number >= 0:
                measured.seconds.append(time.perf_counter() - began_s)
    finally:
        connection.close()
    return measured


def complete(measured: Measured, before: Sample, after: Sample) -> None:
    """Set the times and the processor time of the requests that ended between two samples."""
    jobs = len(measured.seconds) or measured.requests
    measured.elapsed_s = after.at_s - before.at_s
    measured.cpu_ms = after.per_job_ms(before, jobs)
    measured.others_cores = after.others_cores(before)
