"""One running stack for all tests that speak to it over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.stack.own import Child
from tests.api_client import ApiClient
from tests.stack import RunningStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, stub_server: Child) -> Iterator[RunningStack]:
    """`aether up` with the stub upstream in place of a model, and leases short enough to see."""
    stack = RunningStack(
        tmp_path_factory.mktemp("s") / "v",
        "--no-sample",
        "--no-flower",
        AETHER_LLM_URL=stub_server.url,
        AETHER_LEASE_S="3",
        AETHER_SWEEP_INTERVAL_S="1",
    )
    yield stack
    stack.stop()


@pytest.fixture
def api(stack: RunningStack) -> Iterator[ApiClient]:
    """A client of a user nobody else has."""
    client = ApiClient(stack.url)
    yield client
    client.close()


@pytest.fixture
def other(stack: RunningStack) -> Iterator[ApiClient]:
    """A client of yet another user."""
    client = ApiClient(stack.url)
    yield client
    client.close()
