"""What `aether status` says of threads that do not turn."""

from __future__ import annotations

from core.loops import LoopHealth
from core.settings import Settings
from ops.cli.loops import loop_notes
from storage.loop_reports import LoopReports

NOWHERE = "http://127.0.0.1:1"


def test_a_worker_is_noted_when_a_thread_of_it_does_not_turn(redis_client, redis_server):
    stuck, turning = LoopHealth("event-writer", 12.4, 3, True), LoopHealth("a", 0.1, 0, False)
    reports = LoopReports(redis_client)
    reports.write("worker-1@host", [turning, stuck])
    reports.write("worker-2@host", [turning])

    notes = loop_notes(Settings(redis_url=redis_server.url), NOWHERE)

    assert notes == {"worker-1": "event-writer stuck since 12 s", "api": "does not answer"}


def test_nothing_of_workers_is_noted_when_redis_is_away():
    notes = loop_notes(Settings(redis_url="redis://127.0.0.1:1/0"), NOWHERE)

    assert notes == {"api": "does not answer"}
