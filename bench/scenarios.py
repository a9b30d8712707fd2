"""What is measured, one function a figure."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import count

import redis

from bench.client import Connection, Measured, Target
from bench.stack import Bench

_MESSAGE = {"message": "Help me build a scalable web app"}
_OPTIMIZED = "/api/ai/v4/chat/optimized"
_STREAM = "/api/ai/v4/chat/stream"
_COMPLETIONS = "/openai/v1/chat/completions"
#: A demo account may have ten unfinished jobs.
_CLIENTS_PER_USER = 5
_WARM_UP_S = 2.0


async def sign_in(target: Target, users: int) -> list[dict[str, str]]:
    """Return the headers of so many fresh demo users."""
    connection = await Connection.open(target)
    answers = [await connection.post("/api/auth/demo-login", {}, {}) for _ in range(users)]
    connection.close()
    return [{"Authorization": f"Bearer {json.loads(a)['access_token']}"} for a in answers]


async def jobs(bench: Bench, *, concurrency: int, seconds: float) -> Measured:
    """Keep `concurrency` jobs in flight, each submitted with `Prefer: wait`; answers in hand."""
    users = await sign_in(bench.api, max(1, concurrency // _CLIENTS_PER_USER))

    async def one(connection: Connection, number: int) -> None:
        headers = users[number % len(users)] | {"Prefer": "wait=30"}
        answer = await connection.post(_OPTIMIZED, _MESSAGE, headers)
        if b'"status":"completed"' not in answer:
            raise RuntimeError(f"a job did not complete: {answer[:500]!r}")

    return await closed_loop(bench.api, one, concurrency=concurrency, seconds=seconds)


async def proxy(target: Target, *, concurrency: int, seconds: float) -> Measured:
    """Keep `concurrency` plain completions in flight through a proxy that stores nothing."""
    body = {"model": "bench", "messages": [{"role": "user", "content": _MESSAGE["message"]}]}

    async def one(connection: Connection, _: int) -> None:
        answer = await connection.post("/v1/chat/completions", body, {})
        if b"token-10" not in answer:
            raise RuntimeError(f"no answer: {answer[:500]!r}")

    return await closed_loop(target, one, concurrency=concurrency, seconds=seconds)


async def closed_loop(target: Target, one, *, concurrency: int, seconds: float) -> Measured:
    """Run `one` over and over on each connection; what began in the warm-up does not count."""
    measured = Measured(elapsed_s=seconds)
    begin = time.monotonic() + _WARM_UP_S
    end = begin + seconds

    async def client(number: int) -> None:
        connection = await Connection.open(target)
        while time.monotonic() < end:
            began = time.perf_counter()
            await one(connection, number)
            if begin <= time.monotonic() < end:
                measured.seconds.append(time.perf_counter() - began)
        connection.close()

    await asyncio.gather(*(client(number) for number in range(concurrency)))
    return measured


async def first_tokens(bench: Bench, *, concurrency: int, rounds: int) -> tuple[Measured, Measured]:
    """Return the time to the first text through Aether, and from the upstream itself."""
    users = await sign_in(bench.api, max(1, concurrency // _CLIENTS_PER_USER))
    ours, direct = Measured(), Measured()
    body = {
        "model": "bench",
        "stream": True,
        "max_completion_tokens": 1024,
        "messages": [{"role": "user", "content": _MESSAGE["message"]}],
    }

    async def through_aether(number: int) -> None:
        connection = await Connection.open(bench.api)
        headers = users[number % len(users)]
        for _ in range(rounds):
            mark = b"event: answer.delta"
            ours.seconds.append(await connection.first_text_s(_STREAM, _MESSAGE, headers, mark))
        connection.close()

    async def from_upstream() -> None:
        connection = await Connection.open(bench.stub)
        for _ in range(rounds):
            direct.seconds.append(
                await connection.first_text_s(_COMPLETIONS, body, {}, b'"content": "')
            )
        connection.close()

    await asyncio.gather(*(from_upstream() for _ in range(concurrency)))
    await asyncio.gather(*(through_aether(number) for number in range(concurrency)))
    return ours, direct


def floor(bench: Bench, *, concurrency: int, seconds: float) -> float:
    """Return the floor's jobs a second, with `concurrency` tasks in flight."""
    from bench.floor_tasks import DONE_KEY, app  # reads its environment when imported

    app.conf.broker_url = bench.redis_url
    client = redis.Redis.from_url(bench.redis_url)
    client.delete(DONE_KEY)
    numbers = count()
    publish = app.tasks["floor.answer"].apply_async
    for _ in range(concurrency):
        publish((next(numbers),))
    begin = time.monotonic() + _WARM_UP_S
    done = 0
    while (now := time.monotonic()) < begin + seconds:
        if client.brpop([DONE_KEY], timeout=30) is None:
            raise RuntimeError("the floor's worker does not answer")
        done += now >= begin
        publish((next(numbers),))
    for _ in range(concurrency):
        client.brpop([DONE_KEY], timeout=30)
    client.close()
    return done / seconds
