"""One stack that is done harm to, its users, and what looks behind its back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.database import Database
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from ops.drills.evidence import gather
from ops.drills.invariants import judge
from ops.drills.target import Target, find_target
from ops.stack.own import Child
from tests.faults.crowd import Crowd
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
        # A title's job would come and go beside those that a test counts.
        AETHER_TITLES_BY_MODEL="false",
    )
    yield stack
    stack.stop()


@pytest.fixture
def stack(_harmed_stack: RunningStack) -> RunningStack:
    """`aether up` with two workers."""
    return _harmed_stack


@pytest.fixture
def target(stack: RunningStack) -> Iterator[Target]:
    """The stack for the kit; after the test all of it has to run without a human's help."""
    target = find_target(stack.directory, is_own=True)
    yield target
    wait_until(target.is_whole, 60, "every program to run again")


@pytest.fixture
def redis(target: Target) -> Iterator[Redis]:
    """The stack's own Redis; a command survives a restart of it."""
    client = Redis.from_url(
        target.redis_url,
        socket_timeout=10,
        protocol=2,
        retry=Retry(ExponentialBackoff(cap=1, base=0.1), 10),
    )
    yield client
    client.close()


@pytest.fixture
def mongo(target: Target) -> Iterator[Database[dict[str, Any]]]:
    """The stack's own database."""
    with target.database() as database:
        yield database


@pytest.fixture
def crowd(target: Target) -> Iterator[Crowd]:
    crowd = Crowd(target.api_url)
    with crowd.load:
        yield crowd


@pytest.fixture
def settle(
    target: Target, crowd: Crowd, upstream: Callable[[], dict[str, Any]]
) -> Callable[..., dict[str, str]]:
    """Return what waits for the crowd's jobs, checks every invariant and says how each ended."""

    def settle(within_s: float = 60.0, *, log_survives: bool = True) -> dict[str, str]:
        evidence = gather(target, crowd.load, within_s=within_s)
        assert judge(evidence, log_survives=log_survives).violations == ()
        return {job.job_id: job.status for job in evidence.jobs}

    return settle


@pytest.fixture
def upstream(target: Target) -> Callable[[], dict[str, Any]]:
    """Return what the stub upstream has counted since the test began."""
    target.reset_upstream()
    return target.upstream
