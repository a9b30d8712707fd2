"""What operators see of the lines."""

from __future__ import annotations

import pytest

from core.ids import new_user_id
from core.timing import now_ms
from storage.jobs.lines import Waiter
from storage.jobs.overview import Line, Overview
from tests.jobs import QUESTION, ROOMY, make_spec

ANN, BOB = sorted(new_user_id() for _ in range(2))


@pytest.fixture
def put(store, lines):
    def put(user_id, **changes):
        spec = make_spec(user_id=user_id, **changes)
        store.accept(spec, QUESTION, ROOMY, None)
        lines.enter([spec])

    return put


def test_an_empty_stack_has_four_empty_queues_and_no_users(redis_client):
    by_kind, by_user = Overview(redis_client).lines()

    assert by_kind == [Line(kind, 0, 0, None) for kind in ("finish", "agent", "quick", "run")]
    assert by_user == []


def test_what_waits_and_runs_is_counted_by_queue_and_by_user(put, lines, redis_client):
    for _ in range(3):
        put(ANN)
    put(BOB, concurrency_key="a b", priority=0)
    put(BOB, mode="quick")
    for _ in range(2):
        lines.claim_next(Waiter(name="t"))
    overview = Overview(redis_client)

    by_kind, by_user = overview.lines()

    found = {line.name: (line.waiting, line.running) for line in by_kind}
    assert found == {"finish": (0, 0), "agent": (0, 0), "quick": (0, 1), "run": (3, 1)}
    assert overview.waiting() == {kind: waiting for kind, (waiting, _) in found.items()}
    assert [(line.name, line.waiting, line.running) for line in by_user] == [
        (ANN, 2, 1),
        (BOB, 1, 1),
    ]


def test_the_age_is_that_of_the_oldest_job_whatever_its_priority(put, store, lines, redis_client):
    old = make_spec(user_id=ANN, priority=0, created_ms=now_ms() - 60_000)
    store.restore(old, QUESTION)
    put(ANN, priority=10)

    (run,) = [line for line in Overview(redis_client).lines()[0] if line.name == "run"]

    assert run.waiting == 2
    assert run.oldest_s >= 60
