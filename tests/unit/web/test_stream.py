"""When a stream ends."""

from __future__ import annotations

from types import SimpleNamespace

from core.events import Event
from core.jobs import Job, JobStatus
from tests.jobs import make_spec
from web.jobs import stream

DELTA = Event(sequence=2, type="answer.delta", body=b"{}")


class EndlessFeed:
    """A job that goes on for ever, by events or by silence."""

    def __init__(self, item):
        self.item = item

    def follow(self, job_id, *, after, heartbeat_s):
        assert heartbeat_s <= 5
        while True:
            yield self.item


def test_stream_ends_when_its_session_is_over(monkeypatch):
    monkeypatch.setattr(stream, "_LOOK_S", 0.0)
    job = Job(spec=make_spec(), status=JobStatus.IN_PROGRESS, cursor=9)
    for item in (DELTA, None):
        looks = iter([False, False, True])
        services = SimpleNamespace(
            feed=EndlessFeed(item), job_store=SimpleNamespace(get=lambda job_id: job)
        )

        events = list(stream._until_late(services, job.id, 1, lambda looks=looks: next(looks)))

        assert events == ([DELTA, DELTA] if item else [])
