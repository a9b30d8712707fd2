"""One running stack for all tests that speak to it over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api_client import ApiClient
from tests.services import RunningServer
from tests.stack import RunningStack


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stub_server: RunningServer
) -> Iterator[RunningStack]:
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
    stack.destroy()


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
