"""Readers of a job's events miss nothing, whatever happens to the subscription."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import CoordinatorUnavailable
from core.events import ANSWER_DELTA, NewEvent, job_started
from core.jobs import JobStatus
from core.outcome import Outcome
from storage.events.feed import EventFeed
from storage.events.hub import EventHub
from storage.events.log import EventLog
from storage.events.subscribers import Published
from storage.jobs.claims import Batch
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import QUESTION, ROOMY, make_spec
from tests.services import port_of, wait_until
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def proxy(redis_server):
    """What the readers' process reaches Redis by."""
    with TcpProxy(port_of(redis_server.url)) as proxy:
        yield proxy


@pytest.fixture
def readers_redis(proxy):
    client = Redis.from_url(
        f"redis://127.0.0.1:{proxy.port}/0",
        socket_timeout=3,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )
    with closing(client):
        yield client


@pytest.fixture
def hub(readers_redis):
    with closing(EventHub(readers_redis)) as hub:
        yield hub


@pytest.fixture
def feed(hub, redis_client):
    """The log is read by another way, so that only the subscription breaks."""
    return EventFeed(hub, EventLog(redis_client))


@pytest.fixture
def job(redis_client):
    return RunningJob(redis_client)


class RunningJob:
    """A job that has begun: its log ends with number 2."""

    def __init__(self, redis):
        spec = make_spec()
        self.id = spec.id
        AcceptingStore(redis).accept(spec, QUESTION, ROOMY, None)
        self._attempts = ClaimingAttempts(redis)
        self._claim = self._attempts.claim(spec.id)
        self._attempts.append([(self._claim, Batch([job_started(1)]))])

    def tell(self, count):
        for _ in range(count):
            event = NewEvent(ANSWER_DELTA, {"text": "word "})
            self._attempts.append([(self._claim, Batch([event]))])

    def end(self):
        self._attempts.finish(self._claim, JobStatus.COMPLETED, Outcome())


class Reader(threading.Thread):
    """Follows a job to its end; `numbers` are the events it was given."""

    def __init__(self, feed, job_id):
        super().__init__(daemon=True)
        self._events = feed.follow(job_id, after=0, heartbeat_s=0.3)
        self.numbers = []
        self.start()

    def run(self):
        for event in self._events:
            if event is not None:
                self.numbers.append(event.sequence)

    def numbers_at_end(self):
        self.join(20)
        assert not self.is_alive()
        return self.numbers


def test_readers_are_heard_again_when_a_connection_was_closed_under_the_read(
    hub, feed, readers_redis, job
):
    with hub.listen(job.id):
        pass

    readers_redis.connection_pool.disconnect()
    reader = Reader(feed, job.id)
    job.end()

    assert reader.numbers_at_end() == [1, 2, 3]


def test_nothing_is_missed_or_repeated_when_the_subscription_is_reset(feed, proxy, job):
    reader = Reader(feed, job.id)
    wait_until(lambda: reader.numbers == [1, 2], 10, "the backlog")

    for _ in range(3):
        job.tell(20)
        proxy.reset()
        job.tell(20)
    job.end()

    assert reader.numbers_at_end() == list(range(1, 124))


def test_nothing_is_missed_when_messages_vanish_on_their_way(feed, proxy, job):
    reader = Reader(feed, job.id)
    wait_until(lambda: reader.numbers == [1, 2], 10, "the backlog")

    proxy.blackhole()
    job.tell(5)
    wait_until(lambda: reader.numbers == [1, 2, 3, 4, 5, 6, 7], 10, "a look at the log")
    proxy.heal()
    job.tell(5)
    job.end()

    assert reader.numbers_at_end() == list(range(1, 14))


def test_nothing_is_missed_when_a_reader_is_slower_than_its_job(feed, job):
    events = feed.follow(job.id, after=0, heartbeat_s=5)
    begun = [next(events).sequence, next(events).sequence]
    job.tell(1)
    begun.append(next(events).sequence)

    job.tell(600)
    job.end()

    assert begun + [event.sequence for event in events if event] == list(range(1, 605))


def test_fast_readers_are_not_held_up_when_another_reads_nothing(feed, job):
    idle = feed.follow(job.id, after=0, heartbeat_s=5)
    next(idle)
    fast = Reader(feed, job.id)

    job.tell(600)
    job.end()

    assert fast.numbers_at_end() == list(range(1, 604))
    idle.close()


class Waiter(threading.Thread):
    """Waits for a job's end."""

    def __init__(self, feed, store, job_id, timeout_s=20):
        super().__init__(daemon=True)
        self.looks = 0
        self._feed, self._store, self._job_id = feed, store, job_id
        self._timeout_s = timeout_s
        self.start()

    def run(self):
        self._feed.wait_for_end(self._job_id, self._has_ended, self._timeout_s)

    def status(self):
        """Return the job's status once the wait is over."""
        self.join(60)
        assert not self.is_alive()
        return self._store.get(self._job_id).status

    def _has_ended(self):
        self.looks += 1
        return self._store.has_ended(self._job_id)


def test_waiter_wakes_at_the_end_when_many_events_come_before(feed, redis_client, job):
    waiter = Waiter(feed, AcceptingStore(redis_client), job.id, timeout_s=3_000)

    job.tell(600)
    job.end()

    assert waiter.status() is JobStatus.COMPLETED


def test_waiter_sees_the_end_when_its_message_vanishes(feed, redis_client, proxy, job):
    waiter = Waiter(feed, AcceptingStore(redis_client), job.id, timeout_s=3_000)
    wait_until(lambda: waiter.looks, 10, "the first look, after the subscription")

    proxy.blackhole()
    job.end()

    assert waiter.status() is JobStatus.COMPLETED


def test_waiter_returns_while_the_job_runs_when_its_time_is_over(feed, redis_client, job):
    waiter = Waiter(feed, AcceptingStore(redis_client), job.id, timeout_s=0.05)

    assert waiter.status() is JobStatus.IN_PROGRESS


def test_waiter_returns_at_once_when_the_job_has_ended_before(feed, redis_client, job):
    job.end()

    waiter = Waiter(feed, AcceptingStore(redis_client), job.id, timeout_s=3_000)

    assert waiter.status() is JobStatus.COMPLETED
    assert waiter.looks == 1


def test_a_message_shows_its_end_without_being_decoded():
    ends = [
        b'7 answer.delta {"a":"b"}\n8 job.completed {}',
        b"1 job.failed {}",
        b"2 job.cancelled {}",
        b"3 job.incomplete {}",
    ]
    others = [b"", b"8", b"8 job.completed", b'8 answer.delta {"text":"9 job.completed {}"}', b"\n"]

    assert [Published(data).ends_the_job for data in ends] == [True] * 4
    assert not any(Published(data).ends_the_job for data in others)


def test_reader_is_told_to_come_back_when_redis_does_not_confirm(feed, proxy, job):
    proxy.blackhole()

    with pytest.raises(CoordinatorUnavailable):
        next(feed.follow(job.id, after=0, heartbeat_s=5))
