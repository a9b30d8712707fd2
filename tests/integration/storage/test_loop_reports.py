"""Workers' reports of their loops: the last of each, gone soon after its worker."""

from __future__ import annotations

from core.loops import LoopHealth
from storage import keys
from storage.loop_reports import LoopReports

TURNING = LoopHealth("lease-keeper", still_s=0.2, failures=0, is_stuck=False)
STUCK = LoopHealth("event-writer", still_s=12.4, failures=3, is_stuck=True)


def test_the_last_report_of_each_worker_is_read(redis_client):
    reports = LoopReports(redis_client)
    reports.write("worker-2@host", [TURNING])
    reports.write("worker-1@host", [TURNING])

    reports.write("worker-1@host", [TURNING, STUCK])

    found = [(report.program, report.stuck()) for report in reports.read()]
    assert found == [("worker-1", ["event-writer stuck since 12 s"]), ("worker-2", [])]


def test_nothing_is_read_when_nobody_reports(redis_client):
    assert LoopReports(redis_client).read() == []


def test_a_worker_that_is_gone_is_not_read_and_no_key_stays(redis_client):
    reports = LoopReports(redis_client)
    reports.write("worker-1@host", [STUCK])

    ttls = [redis_client.ttl(key) for key in (keys.loops("worker-1@host"), keys.WORKERS)]
    redis_client.delete(keys.loops("worker-1@host"))

    assert reports.read() == []
    assert all(0 < ttl <= 60 for ttl in ttls)
