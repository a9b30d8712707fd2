"""The frames of one reader's event stream."""

from __future__ import annotations

import json

import pytest

from core.errors import CoordinatorUnavailable
from core.events import Event
from core.jobs import NO_PLACE, Job, JobStatus, Place
from tests.jobs import make_spec
from web.jobs.stream import JobStream

TYPES = ("job.queued", "job.started", "answer.delta", "job.completed")
HEARTBEAT = None


def event(number):
    type_ = TYPES[number - 1]
    body = json.dumps({"sequence": number, "type": type_}).encode()
    return Event(sequence=number, type=type_, body=body)


class Log:
    """A log that holds the events from `first` to `last`, and a feed that follows it.

    The feed tells a heartbeat, or fails, behind the log's last event.
    """

    def __init__(self, first=1, last=4, then=()):
        self.events = [event(number) for number in range(first, last + 1)]
        self.then = then

    def read(self, job_id, *, after, limit):
        return [event for event in self.events if event.sequence > after][:limit]

    def follow(self, job_id, *, after, heartbeat_s):
        yield from self.read(job_id, after=after, limit=None)
        for beat in self.then:
            if isinstance(beat, Exception):
                raise beat
            yield beat


class Store:
    """Holds one job, or none any more."""

    def __init__(self, job):
        self.job = job

    def get(self, job_id):
        return self.job


def job(cursor=4, status=JobStatus.COMPLETED):
    return Job(spec=make_spec(), status=status, cursor=cursor)


def frames(log, reader_job, after=0, types=None, stored=None):
    stream = JobStream(log, log, Store(stored or reader_job), reader_job, types)
    return [frame.decode() for frame in stream.frames(after)]


def names(found):
    """Return the number and the type of each frame that has an event."""
    lines = [frame.splitlines() for frame in found if frame.startswith("id: ")]
    return [(int(number[4:]), type_[7:]) for number, type_, *_ in lines]


def test_stream_has_every_event_and_ends_at_the_last():
    first, *rest = frames(Log(), job())

    assert first == "retry: 1000\n\n"
    assert rest[0] == 'id: 1\nevent: job.queued\ndata: {"sequence": 1, "type": "job.queued"}\n\n'
    assert names(rest) == list(enumerate(TYPES, start=1))
    assert len(rest) == 4


def test_stream_goes_on_behind_the_event_that_the_reader_has():
    assert names(frames(Log(), job(), after=2)) == [(3, TYPES[2]), (4, TYPES[3])]


def test_stream_ends_though_its_last_event_is_of_another_type_than_wanted():
    found = frames(Log(), job(), types=frozenset({"job.started"}))

    assert names(found) == [(2, "job.started")]


def test_reader_gets_a_comment_when_nothing_happens(monkeypatch):
    monkeypatch.setattr("web.jobs.stream.HEARTBEAT_S", 0.0)
    running = job(cursor=3, status=JobStatus.IN_PROGRESS)

    found = frames(Log(last=3, then=[HEARTBEAT]), running, after=3)

    assert found[1] == ": alive\n\n"


@pytest.mark.parametrize("then", [[], [CoordinatorUnavailable()]], ids=["stopped", "without Redis"])
def test_reader_is_told_to_resume_when_the_stream_ends_early(then):
    running = job(cursor=3, status=JobStatus.IN_PROGRESS)

    found = frames(Log(last=3, then=then), running)

    assert names(found)[-1] == (3, TYPES[2])
    assert found[-1].startswith("retry: 200\n")


def test_snapshot_stands_in_for_a_log_that_is_gone():
    found = frames(Log(first=5), job())

    assert names(found) == [(4, "job.snapshot")]
    body = json.loads(found[1].splitlines()[2].removeprefix("data: "))
    assert body["data"]["cursor"] == body["sequence"] == 4


def test_stream_goes_on_behind_the_snapshot_when_the_job_is_not_over():
    running = job(cursor=2, status=JobStatus.IN_PROGRESS)

    found = frames(Log(first=2), running, after=9)

    assert names(found) == [(2, "job.snapshot"), (3, TYPES[2]), (4, TYPES[3])]


def test_reader_is_told_to_resume_when_the_log_has_begun_anew(monkeypatch):
    monkeypatch.setattr("web.jobs.stream.HEARTBEAT_S", 0.0)
    running, restored = (job(cursor=n, status=JobStatus.IN_PROGRESS) for n in (3, 1))

    found = frames(Log(last=3, then=[HEARTBEAT, HEARTBEAT]), running, stored=restored)

    assert found.count(": alive\n\n") == 0
    assert found[-1].startswith("retry: 200\n")


@pytest.mark.parametrize("item", [event(2), HEARTBEAT])
def test_stream_ends_when_its_session_is_over(item, monkeypatch):
    monkeypatch.setattr("web.jobs.stream._LOOK_S", 0.0)
    running = job(cursor=9, status=JobStatus.IN_PROGRESS)
    looks = iter([False, False, True])
    log = Log(last=2, then=[item] * 9)

    stream = JobStream(log, log, Store(running), running, None, lambda: next(looks))
    found = [frame.decode() for frame in stream.frames(1)]

    assert names(found) == [(2, TYPES[1])] * (2 if item else 1)
    assert found[-1].startswith("retry: 200\n")


def test_stream_says_where_a_waiting_job_stands_whenever_that_changes():
    waiting, log = job(cursor=1, status=JobStatus.QUEUED), Log(last=1, then=[HEARTBEAT] * 4)
    places = iter([Place(3, 1.5), Place(3, 1.5), Place(2, None), NO_PLACE])

    stream = JobStream(log, log, Store(waiting), waiting, place_of=lambda _: next(places))
    said = [frame.decode() for frame in stream.frames(1) if b"job.position" in frame]

    assert [json.loads(frame.partition("data: ")[2])["data"] for frame in said] == [
        {"position": 3, "estimated_start_s": 1.5},
        {"position": 2, "estimated_start_s": None},
    ]
    assert all(frame.startswith("event: job.position\n") for frame in said)
