"""How long another user's quick job waits for its start, alone and in front of a pile of others."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from bench import scenarios
from bench.client import Connection, Measured
from bench.stack import Bench

#: Together more than the threads of two workers; answers of a second leave the processors idle.
_USERS: Final = 16
_JOBS_EACH: Final = 10
_PILED: Final = {
    "message": "Help me build a scalable web app [[stub:first_ms=1000]]",
    "cache": {"mode": "bypass"},
}
_QUICK: Final = {"message": "Is it my turn?", "cache": {"mode": "bypass"}}
_OPTIMIZED: Final = "/api/ai/v4/chat/optimized"
_QUICK_PATH: Final = "/api/ai/v4/chat/quick"
_WAIT: Final = {"Prefer": "wait=30"}
_PILED_FOR_S: Final = 3.0


async def queue_times(bench: Bench, *, requests: int) -> tuple[Measured, Measured]:
    """Return how long quick jobs of one user waited for a worker: alone, and behind the pile."""
    (late, *others) = await scenarios.sign_in(bench, 1 + _USERS, plan="trial")
    alone = await _ask(bench, late, requests)
    over = asyncio.Event()
    clients = [
        asyncio.create_task(_pile(bench, user, over)) for user in others for _ in range(_JOBS_EACH)
    ]
    await asyncio.sleep(_PILED_FOR_S)
    behind = await _ask(bench, late, requests)
    over.set()
    await asyncio.gather(*clients)
    return alone, behind


async def _ask(bench: Bench, user: dict[str, str], requests: int) -> Measured:
    measured = Measured()
    connection = await Connection.open(bench.api)
    for _ in range(requests):
        answer = json.loads(await connection.post(_QUICK_PATH, _QUICK, user | _WAIT))
        if answer["status"] != "completed":
            raise RuntimeError(f"a job did not complete: {answer}")
        measured.seconds.append(answer["timing_ms"]["queue"] / 1000)
    connection.close()
    return measured


async def _pile(bench: Bench, user: dict[str, str], over: asyncio.Event) -> None:
    connection = await Connection.open(bench.api)
    while not over.is_set():
        await connection.post(_OPTIMIZED, _PILED, user | _WAIT)
    connection.close()
