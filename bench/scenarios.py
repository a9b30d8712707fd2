"""The loads that are measured: each function runs one of them once."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import count

import redis

from bench import load
from bench.client import Connection, Measured
from bench.cpu import Parts, Sample
from bench.proxy import Proxy
from bench.stack import Bench
from core.plans import PlanName

#: Past the cache, which `bench/cache.py` measures.
_ANEW = {"cache": {"mode": "bypass"}}
_MESSAGE = {"message": "Help me build a scalable web app", **_ANEW}
_OPTIMIZED = "/api/ai/v4/chat/optimized"
_STREAM = "/api/ai/v4/chat/stream"
_TEAM = "/api/ai/v4/chat/multi-agent"
_TEAM_MESSAGE = {
    "message": f"{_MESSAGE['message']} [[stub:first_ms=300]]",
    "agents": ["dev", "luna", "atlas", "quinn", "sage"],
    **_ANEW,
}
_COMPLETIONS = "/openai/v1/chat/completions"
#: The stub sends its tokens one by one, 20 ms apart.
_SLOW_MESSAGE = {"message": f"{_MESSAGE['message']} [[stub:gap_ms=20]]", **_ANEW}
#: A demo account may have ten unfinished jobs.
_CLIENTS_PER_USER = 5
_ANSWER_WITHIN_S = 30
#: Between the starts of concurrent streams, so that they are spread over one stream's length.
_STAGGER_S = 0.022


async def sign_in(
    bench: Bench, users: int, *, plan: PlanName = "enterprise"
) -> list[dict[str, str]]:
    """Create users of a plan and return the request headers of each."""
    connection = await Connection.open(bench.api)
    answers = [
        json.loads(await connection.post("/api/auth/demo-login", {}, {})) for _ in range(users)
    ]
    connection.close()
    # Before their first request, so that no process knows them with another plan.
    bench.give_plan([answer["user"]["id"] for answer in answers], plan)
    return [{"Authorization": f"Bearer {answer['access_token']}"} for answer in answers]


async def _job(connection: Connection, user: dict[str, str]) -> None:
    headers = user | {"Prefer": f"wait={_ANSWER_WITHIN_S}"}
    answer = await connection.post(_OPTIMIZED, _MESSAGE, headers)
    if b'"status":"completed"' not in answer or b"token-10" not in answer:
        raise RuntimeError(f"a job did not complete: {answer[:500]!r}")


async def jobs_in_turn(bench: Bench, *, requests: int) -> Measured:
    """Run one job at a time, each from its submission with `Prefer: wait` to its answer."""
    (user,) = await sign_in(bench, 1)
    return await load.in_turn(bench.api, lambda c, _: _job(c, user), requests=requests)


async def team_jobs_in_turn(bench: Bench, *, requests: int) -> Measured:
    """Run one job of five agents and a synthesis at a time; each model call takes 300 ms."""
    (user,) = await sign_in(bench, 1)
    return await load.in_turn(bench.api, lambda c, _: _team_job(c, user), requests=requests)


async def _team_job(connection: Connection, user: dict[str, str]) -> None:
    headers = user | {"Prefer": f"wait={_ANSWER_WITHIN_S}"}
    answer = await connection.post(_TEAM, _TEAM_MESSAGE, headers)
    if b'"status":"completed"' not in answer or b'"degraded":false' not in answer:
        raise RuntimeError(f"a team's job did not complete: {answer[:500]!r}")


async def jobs(bench: Bench, *, concurrency: int, seconds: float) -> Measured:
    """Keep `concurrency` jobs in flight, each from its submission to its answer."""
    users = await sign_in(bench, -(-concurrency // _CLIENTS_PER_USER))
    return await load.closed_loop(
        bench.api,
        lambda connection, number: _job(connection, users[number % len(users)]),
        concurrency=concurrency,
        seconds=seconds,
        parts=bench.parts(),
    )


async def proxy(proxy: Proxy, *, concurrency: int, seconds: float, parts: Parts) -> Measured:
    """Keep `concurrency` completions in flight through a proxy, each streamed to its end."""
    body = {
        "model": "bench",
        "stream": True,
        "max_completion_tokens": 1024,
        "messages": [{"role": "user", "content": _MESSAGE["message"]}],
    }

    async def one(connection: Connection, _: int) -> None:
        await connection.first_text_s("/v1/chat/completions", body, proxy.headers, b"token-10")

    return await load.closed_loop(
        proxy.target, one, concurrency=concurrency, seconds=seconds, parts=parts
    )


async def first_tokens(bench: Bench, *, concurrency: int, rounds: int) -> tuple[Measured, Measured]:
    """Return the time to the first text through Aether, and from the upstream itself."""
    users = await sign_in(bench, -(-concurrency // _CLIENTS_PER_USER))
    ours, direct = Measured(), Measured()
    upstream_body = {
        "model": "bench",
        "stream": True,
        "max_completion_tokens": 1024,
        "messages": [{"role": "user", "content": _SLOW_MESSAGE["message"]}],
    }

    async def through_aether(number: int) -> None:
        connection = await Connection.open(bench.api)
        user, mark = users[number % len(users)], b"event: answer.delta"
        await asyncio.sleep(number * _STAGGER_S)
        for turn in range(1 + rounds):
            first_s = await connection.first_text_s(_STREAM, _SLOW_MESSAGE, user, mark)
            # The first opens connections all the way through and does not count.
            ours.seconds += [first_s] if turn else []
        connection.close()

    async def from_upstream(number: int) -> None:
        connection = await Connection.open(bench.stub)
        await asyncio.sleep(number * _STAGGER_S)
        for turn in range(1 + rounds):
            first_s = await connection.first_text_s(
                _COMPLETIONS, upstream_body, {}, b'"content": "'
            )
            direct.seconds += [first_s] if turn else []
        connection.close()

    await asyncio.gather(*(from_upstream(number) for number in range(concurrency)))
    await asyncio.gather(*(through_aether(number) for number in range(concurrency)))
    return ours, direct


def floor(bench: Bench, parts: Parts, *, concurrency: int, seconds: float) -> Measured:
    """Keep `concurrency` of the floor's tasks in flight."""
    from bench.floor_tasks import DONE_KEY, app  # reads its environment when imported

    app.conf.broker_url = bench.redis_url
    client = redis.Redis.from_url(bench.redis_url)
    client.delete(DONE_KEY)
    numbers = count()
    publish = app.tasks["floor.answer"].apply_async
    measured = Measured()

    def one_done_one_more(until_s: float) -> None:
        while time.monotonic() < until_s:
            if client.brpop([DONE_KEY], timeout=_ANSWER_WITHIN_S) is None:
                raise RuntimeError("the floor's worker does not answer")
            measured.requests += 1
            publish((next(numbers),))

    for _ in range(concurrency):
        publish((next(numbers),))
    # The first mark says that the worker is there; only then does the warm-up begin.
    one_done_one_more(time.monotonic() + 0.001)
    one_done_one_more(time.monotonic() + load.WARM_UP_S)
    measured.requests, before = 0, Sample.take(parts)
    one_done_one_more(time.monotonic() + seconds)
    load.complete(measured, before, Sample.take(parts))
    for _ in range(concurrency):
        client.brpop([DONE_KEY], timeout=_ANSWER_WITHIN_S)
    client.close()
    return measured
