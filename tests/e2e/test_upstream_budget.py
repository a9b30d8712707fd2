"""Two workers, one budget: no request above the limit, and every job gets its turn."""

from __future__ import annotations

from contextlib import ExitStack, closing

import httpx
import pytest

from tests.api_client import ApiClient
from tests.services import start_stub
from tests.stack import RunningStack

pytestmark = pytest.mark.e2e

PER_MINUTE = 60
TOKENS_PER_MINUTE = 90_000
#: More than a minute lets through, in portions that a trial user may have at once.
USERS, JOBS_EACH = 7, 10
MOST_TOKENS = 4_096


@pytest.fixture
def limited_stub(tmp_path):
    server = start_stub(
        tmp_path,
        *("--requests-per-minute", str(PER_MINUTE)),
        *("--tokens-per-minute", str(TOKENS_PER_MINUTE)),
    )
    yield server
    server.stop()


@pytest.fixture
def limited_stack(tmp_path_factory, limited_stub):
    stack = RunningStack(
        tmp_path_factory.mktemp("s") / "v",
        *("--no-sample", "--no-flower", "--workers", "2"),
        AETHER_LLM_URL=limited_stub.url,
        AETHER_LLM_REQUESTS_PER_MINUTE=str(PER_MINUTE),
        AETHER_LLM_TOKENS_PER_MINUTE=str(TOKENS_PER_MINUTE),
        AETHER_SWEEP_INTERVAL_S="1",
        AETHER_JOB_DEADLINE_S="140",
    )
    yield stack
    stack.stop()


@pytest.fixture
def users(limited_stack):
    with ExitStack() as opened:
        yield [opened.enter_context(closing(ApiClient(limited_stack.url))) for _ in range(USERS)]


def test_no_request_is_above_the_limit_and_all_jobs_complete_when_more_come(users, limited_stub):
    submitted = [
        (user, user.submit(f"Job {number}", max_tokens=MOST_TOKENS if number == 5 else 50))
        for number in range(JOBS_EACH)
        for user in users
    ]

    jobs = [user.end_of(answer.json()["id"], 150) for user, answer in submitted]

    stats = httpx.get(f"{limited_stub.url}/stub/stats").json()
    assert [job["status"] for job in jobs] == ["completed"] * (USERS * JOBS_EACH)
    assert {job["attempt"] for job in jobs} == {1}
    assert (stats["requests"], stats["over_limit"]) == (USERS * JOBS_EACH, 0)
