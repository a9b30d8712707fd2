"""One stack that is done harm to, and what looks behind its back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pymongo
import pytest
from pymongo.database import Database
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from ops.stack.own import Child
from storage import keys
from tests.faults.crowd import Crowd
from tests.faults.harm import is_whole
from tests.faults.invariants import check_invariants, unfinished
from tests.faults.readers import Readers
from tests.services import wait_until
from tests.stack import RunningStack


@pytest.fixture(scope="session")
def _harmed_stack(
    tmp_path_factory: pytest.TempPathFactory, stub_server: Child
) -> Iterator[RunningStack]:
    stack = RunningStack(
        tmp_path_factory.mktemp("f") / "v",
        *("--no-sample", "--no-flower", "--workers", "2"),
        AETHER_LLM_URL=stub_server.url,
        AETHER_LEASE_S="3",
        AETHER_SWEEP_INTERVAL_S="1",
        AETHER_API_PROCESSES="2",
    )
    yield stack
    stack.stop()


@pytest.fixture
def stack(_harmed_stack: RunningStack) -> Iterator[RunningStack]:
    """`aether up` with two workers; after the test all of it has to run without a human's help."""
    yield _harmed_stack
    wait_until(lambda: is_whole(_harmed_stack), 30, "every program to run again")


@pytest.fixture
def redis(stack: RunningStack) -> Iterator[Redis]:
    """The stack's own Redis; a command survives a restart of it."""
    client = Redis.from_url(
        f"redis://127.0.0.1:{stack.ports['redis']}/0",
        socket_timeout=10,
        protocol=2,
        retry=Retry(ExponentialBackoff(cap=1, base=0.1), 10),
    )
    yield client
    client.close()


@pytest.fixture
def mongo(stack: RunningStack) -> Iterator[Database[dict[str, Any]]]:
    """The stack's own database."""
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        f"mongodb://127.0.0.1:{stack.ports['mongo']}/?directConnection=true",
        tz_aware=True,
        serverSelectionTimeoutMS=20_000,
    )
    yield client["aether"]
    client.close()


@pytest.fixture
def crowd(stack: RunningStack) -> Iterator[Crowd]:
    crowd = Crowd(stack.url)
    yield crowd
    crowd.close()


@pytest.fixture
def follow(crowd: Crowd) -> Iterator[Callable[[list[str]], Readers]]:
    """Return what has each of the crowd's jobs read by its owner from now on."""
    begun: list[Readers] = []

    def follow(job_ids: list[str]) -> Readers:
        begun.append(Readers({job_id: crowd.owner(job_id) for job_id in job_ids}))
        return begun[-1]

    yield follow
    for readers in begun:
        readers.close()


@pytest.fixture
def settle(
    redis: Redis,
    mongo: Database[dict[str, Any]],
    crowd: Crowd,
    upstream: Callable[[], dict[str, Any]],
) -> Callable[..., dict[str, str]]:
    """Return what waits for the crowd's jobs, checks every invariant and tells how each ended."""

    def settle(within_s: float = 40.0, *, log_survives: bool = True) -> dict[str, str]:
        job_ids = crowd.job_ids
        wait_until(lambda: not unfinished(redis, mongo, job_ids), within_s, "every job's record")
        wait_until(lambda: not upstream()["in_flight"], 10, "the upstream to be left alone")
        check_invariants(redis, mongo, job_ids, log_survives=log_survives)
        ended = mongo["jobs"].find({"_id": {"$in": job_ids}}, {"status": 1})
        return {job["_id"]: job["status"] for job in ended}

    return settle


@pytest.fixture
def streaming(redis: Redis) -> Callable[[list[str]], int]:
    """Return what counts the jobs that have begun to tell their answer."""

    def streaming(job_ids: list[str]) -> int:
        with redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(keys.job(job_id), "seq")
            # Queued, started, routed, agent started, and at least one piece of text.
            return sum(int(cursor or 0) >= 5 for cursor in pipe.execute())

    return streaming


@pytest.fixture
def upstream(stub_server: Child) -> Callable[[], dict[str, Any]]:
    """Return what the stub upstream has counted since the test began."""
    httpx.post(f"{stub_server.url}/stub/reset").raise_for_status()
    return lambda: httpx.get(f"{stub_server.url}/stub/stats").json()
