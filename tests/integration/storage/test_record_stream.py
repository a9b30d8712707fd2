"""Ended jobs on their way to their records: read again until they are let go."""

from __future__ import annotations

from contextlib import closing

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import CoordinatorUnavailable
from core.jobs import JobStatus
from core.outcome import Outcome
from storage import keys
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import QUESTION, ROOMY, make_spec
from tests.services import port_of
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def stream(redis_client):
    return RecordStream(redis_client, AcceptingStore(redis_client))


@pytest.fixture
def end_jobs(redis_client):
    """Return what brings so many jobs to their end."""
    store, attempts = AcceptingStore(redis_client), ClaimingAttempts(redis_client)

    def end_jobs(count):
        specs = [make_spec() for _ in range(count)]
        for spec in specs:
            store.accept(spec, QUESTION, ROOMY, None)
            attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, Outcome())
        return {spec.id for spec in specs}

    return end_jobs


def ids_of(entries):
    return {entry.job_id for entry in entries}


def test_nothing_is_read_when_nothing_has_ended(stream):
    assert stream.read(per_shard=10) == []


def test_jobs_are_read_again_when_their_reader_died(stream, redis_client, end_jobs):
    job_ids = end_jobs(20)
    first = stream.read(per_shard=100)

    heir = RecordStream(redis_client, AcceptingStore(redis_client))
    second = heir.read(per_shard=100)
    heir.let_go(second)

    assert ids_of(first) == ids_of(second) == job_ids
    assert {entry.job.status for entry in second} == {JobStatus.COMPLETED}
    assert {entry.job.question for entry in second} == {QUESTION}
    assert stream.read(per_shard=100) == []


def test_job_stays_some_minutes_for_its_readers_when_it_is_let_go(redis_client, end_jobs):
    stream = RecordStream(redis_client, AcceptingStore(redis_client), kept_s=120)
    (job_id,) = end_jobs(1)
    before = redis_client.ttl(keys.job(job_id))

    stream.let_go(stream.read(per_shard=10))

    assert before == -1
    for key in (keys.job(job_id), keys.events(job_id)):
        assert 0 < redis_client.ttl(key) <= 120


def test_jobs_are_read_when_redis_was_wiped_before_they_ended(stream, redis_client, end_jobs):
    end_jobs(1)
    stream.let_go(stream.read(per_shard=10))
    redis_client.flushall()

    job_ids = end_jobs(3)

    assert ids_of(stream.read(per_shard=10)) == job_ids


def test_entry_has_no_job_when_its_hash_is_gone(stream, redis_client, end_jobs):
    (job_id,) = end_jobs(1)
    redis_client.delete(keys.job(job_id))

    (entry,) = stream.read(per_shard=10)

    assert (entry.job_id, entry.job) == (job_id, None)


@pytest.fixture
def proxy(redis_server):
    with TcpProxy(port_of(redis_server.url)) as proxy:
        yield proxy


@pytest.fixture
def distant_stream(proxy):
    """The stream as it is reached by the proxy, over a connection that is open."""
    url, retry = f"redis://127.0.0.1:{proxy.port}/0", Retry(NoBackoff(), 0)
    with closing(Redis.from_url(url, socket_timeout=1, protocol=2, retry=retry)) as client:
        client.ping()
        yield RecordStream(client, AcceptingStore(client))


def test_jobs_are_read_again_when_redis_did_not_answer(distant_stream, proxy, end_jobs):
    job_ids = end_jobs(5)

    proxy.blackhole()
    with pytest.raises(CoordinatorUnavailable):
        distant_stream.read(per_shard=10)
    proxy.heal()

    assert ids_of(distant_stream.read(per_shard=10)) == job_ids


@pytest.mark.parametrize("harm", [TcpProxy.reset, TcpProxy.half_close])
def test_jobs_are_read_when_the_connection_had_broken(harm, distant_stream, proxy, end_jobs):
    job_ids = end_jobs(5)

    harm(proxy)

    assert ids_of(distant_stream.read(per_shard=10)) == job_ids
