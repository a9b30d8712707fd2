"""What nobody works on is brought on, and what has ended reaches its record, once."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from celery import Celery
from structlog.testing import capture_logs

from core.errors import StoreUnavailable
from core.events import answer_delta, job_retrying
from core.jobs import Job, JobStatus
from core.models import read_catalogue
from core.outcome import Answer, Outcome
from core.settings import Settings
from storage import keys
from storage.connections import close_all
from storage.connections import mongo_database as connect
from storage.events.log import EventLog
from storage.jobs.claims import Batch
from storage.jobs.epoch import Epoch
from storage.jobs.lines import Lines, Waiter
from storage.jobs.sweep import Sweep
from storage.jobs.teams import Teams
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import QUESTION, ROOMY, make_spec
from tests.services import port_of
from tests.tcp_proxy import TcpProxy
from workers import names
from workers.queue import JobQueue, WakeUps
from workers.upkeep.records import RecordWriter
from workers.upkeep.restoration import Restoration
from workers.upkeep.sweeper import Sweeper
from workers.upkeep.teams import TeamSweeper

DONE = Outcome(answer=Answer(text="ab", finish_reason="stop", agents=("dev",)), cost_micros=30)


@pytest.fixture
def proxy(mongo_server):
    """What upkeep reaches MongoDB by."""
    with TcpProxy(port_of(mongo_server.url)) as proxy:
        yield proxy


@pytest.fixture
def runtime(redis_server, redis_client, mongo_database, proxy):
    """All of a worker's parts that upkeep uses."""
    url = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
    settings = Settings(mongo_url=url, mongo_database=mongo_database.name, sweep_interval_s=1)
    database = connect(settings, selection_timeout_s=2)
    store, records = AcceptingStore(redis_client), JobRecords(database, insert_s=10)
    attempts, lines = ClaimingAttempts(redis_client), Lines(redis_client, lease_s=15)
    stream = RecordStream(redis_client, store)
    lost_jobs = LostJobs(store, store.recovery, records, Ledger(database))
    with Celery("upkeep", broker=redis_server.url, set_as_current=False) as app:
        yield SimpleNamespace(
            store=store,
            attempts=attempts,
            lines=lines,
            records=records,
            record_stream=stream,
            writer=RecordWriter(stream, records),
            sweeper=Sweeper(
                Sweep(redis_client, lease_s=15),
                store.acceptance,
                attempts,
                EventLog(redis_client),
                records,
                JobQueue(lines, WakeUps(app)),
                WakeUps(app),
                Restoration(Epoch(redis_client), lost_jobs, records),
                TeamSweeper(Teams(redis_client, lease_s=15), None, None, None),
                read_catalogue(settings.llm_provider, None),
                interval_s=1,
            ),
        )
    close_all(database)


@pytest.fixture
def accept(runtime, redis_client):
    """Return what takes a job in that is due for a look at once."""

    def accept(*, is_recorded=True, **changes):
        spec = make_spec(**changes)
        runtime.store.accept(spec, QUESTION, ROOMY, None)
        if is_recorded:
            runtime.records.insert(
                Job(spec=spec, question=QUESTION, status=JobStatus.QUEUED, cursor=1)
            )
        redis_client.zadd(keys.WATCH, {spec.id: 1})
        return spec

    return accept


def lose_worker(runtime, redis, spec):
    """Claim the job, tell a word of its answer and be gone."""
    claim = runtime.attempts.claim(spec.id)
    said = [job_retrying("worker_lost", claim.attempt)] if claim.attempt > 1 else []
    runtime.attempts.append([(claim, Batch([*said, answer_delta("dev", "word ")]))])
    redis.hset(keys.job(spec.id), "lease", 1)
    redis.zadd(keys.WATCH, {spec.id: 1})
    return claim


def test_job_enters_its_line_when_its_api_died_before_that(runtime, accept, redis_client):
    spec = accept()

    runtime.sweeper.run()

    assert redis_client.llen(names.RUN_QUEUE) == 1
    assert redis_client.exists(keys.WATCH) == 0
    assert runtime.lines.claim_next(Waiter(name="t")).spec == spec


def test_second_sweep_does_nothing_when_one_has_just_been(runtime, accept, redis_client):
    accept()

    for _ in range(3):
        runtime.sweeper.run()

    assert redis_client.llen(names.RUN_QUEUE) == 1


def test_job_is_undone_when_it_has_no_record(runtime, accept, redis_client):
    spec = accept(is_recorded=False)

    runtime.sweeper.run()

    assert runtime.store.get(spec.id) is None
    assert redis_client.llen(names.RUN_QUEUE) == 0


def test_job_without_a_record_waits_when_mongo_is_away(runtime, accept, proxy, redis_client):
    spec, lost = accept(is_recorded=False), accept()
    lose_worker(runtime, redis_client, lost)
    proxy.close()

    runtime.sweeper.run()

    assert runtime.store.get(spec.id).status is JobStatus.QUEUED
    assert runtime.store.get(lost.id).status is JobStatus.QUEUED
    assert redis_client.llen(names.RUN_QUEUE) == 1


def test_job_goes_back_to_the_queue_when_its_worker_is_lost(runtime, accept, redis_client):
    spec = accept()
    zombie = lose_worker(runtime, redis_client, spec)

    runtime.sweeper.run()

    assert redis_client.llen(names.RUN_QUEUE) == 1
    assert not runtime.attempts.finish(zombie, JobStatus.COMPLETED, DONE)
    assert runtime.attempts.claim(spec.id).attempt == 2


def test_job_fails_with_what_it_had_when_it_lost_three_workers(runtime, accept, redis_client):
    spec = accept()
    for attempt in (1, 2, 3):
        assert lose_worker(runtime, redis_client, spec).attempt == attempt

    runtime.sweeper.run()
    runtime.writer.run()

    (dead,) = runtime.records.dead_letters(limit=10)
    assert (dead.id, dead.attempt) == (spec.id, 3)
    assert (dead.outcome.answer.text, dead.outcome.answer.finish_reason) == ("word ", "interrupted")


@pytest.mark.parametrize("has_begun", [False, True])
def test_job_ends_cancelled_when_it_was_to_be_and_no_worker_is_left(
    has_begun, runtime, accept, redis_client
):
    spec = accept()
    if has_begun:
        lose_worker(runtime, redis_client, spec)
    runtime.store.request_cancel(spec.id)

    runtime.sweeper.run()

    assert runtime.store.get(spec.id).status is JobStatus.CANCELLED


def test_job_ends_incomplete_when_its_deadline_has_passed(runtime, accept, redis_client):
    spec = accept(allowed_ms=0)
    lose_worker(runtime, redis_client, spec)

    runtime.sweeper.run()

    job = runtime.store.get(spec.id)
    assert (job.status, job.outcome.error.code) == (JobStatus.INCOMPLETE, "deadline_exceeded")
    assert job.outcome.answer.text == "word "


def test_job_ends_incomplete_when_it_has_waited_too_long(runtime, accept, redis_client):
    spec = accept(expires_at_ms=int(time.time() * 1000) - 1)
    runtime.lines.enter([spec])

    runtime.sweeper.run()

    job = runtime.store.get(spec.id)
    assert (job.status, job.outcome.error.code) == (JobStatus.INCOMPLETE, "expired")
    assert runtime.lines.count_ready(most=10) == {}
    assert redis_client.exists(keys.WATCH, keys.EXPIRING) == 0


def test_job_is_brought_back_when_redis_has_lost_it(runtime, accept, redis_client):
    lost = [accept(), accept(is_batch=True)]
    redis_client.flushall()

    runtime.sweeper.run()

    assert [runtime.attempts.claim(spec.id).spec for spec in lost] == lost


@pytest.fixture
def ended(runtime, accept):
    """Jobs that have ended and are not recorded."""
    specs = [accept() for _ in range(5)]
    for spec in specs:
        runtime.attempts.finish(runtime.attempts.claim(spec.id), JobStatus.COMPLETED, DONE)
    return [spec.id for spec in specs]


HUGE_NUMBER = '{"timing_ms":{"total":9223372036854775808}}'
TOO_LONG = '{"answer":{"text":"%s","finish_reason":"stop","agents":["dev"]}}' % (
    "secret " * 2_500_000
)


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        (HUGE_NUMBER, "OverflowError"),
        (TOO_LONG, "DocumentTooLarge|BulkWriteError 10334"),
        ('{"answer":"secret"}', "ValidationError"),
        ('{"cache":{"status":"secret of a newer version"}}', "ValidationError"),
        ("secret", "DecodeError"),
    ],
    ids=["number", "size", "type", "enum", "syntax"],
)
def test_others_are_recorded_when_one_record_cannot_be_kept(
    outcome, fault, runtime, ended, mongo_database, redis_client
):
    bad = ended[2]
    redis_client.hset(keys.job(bad), "outcome", outcome)

    with capture_logs() as lines:
        runtime.writer.run()
        runtime.writer.run()

    assert_recorded_once(mongo_database, redis_client, ended)
    records = {record["_id"]: record for record in mongo_database["jobs"].find()}
    assert records[bad]["outcome"]["error"]["code"] == "record_set_aside"
    assert all("error" not in records[job_id]["outcome"] for job_id in ended if job_id != bad)
    assert [entry["cost_micros"] for entry in mongo_database["ledger"].find()] == [30] * 5
    (aside,) = runtime.records.set_aside.list(limit=10)
    assert aside.job_id == bad
    assert re.fullmatch(fault, aside.error)
    assert aside.user_id == records[bad]["user_id"]
    assert runtime.records.set_aside.count() == 1
    assert "secret" not in str(lines)


def test_job_set_aside_is_not_brought_back_when_redis_has_let_it_go(
    runtime, accept, redis_client, mongo_database
):
    spec = accept(created_ms=int(time.time() * 1000) - 20_000)
    runtime.attempts.finish(runtime.attempts.claim(spec.id), JobStatus.COMPLETED, DONE)
    redis_client.hset(keys.job(spec.id), "spec", '{"mode":"of a newer version"}')
    runtime.writer.run()
    redis_client.flushall()

    runtime.sweeper.run()

    assert runtime.store.get(spec.id) is None
    assert runtime.records.get(spec.id, spec.user_id).status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    ("field", "value"),
    [("spec", '{"mode":"of a newer version"}'), ("status", "paused"), ("attempt", "one")],
)
def test_others_are_brought_on_when_one_due_entry_cannot_be_read(
    field, value, runtime, accept, redis_client
):
    unreadable = accept()
    redis_client.hset(keys.job(unreadable.id), field, value)
    for _ in range(3):
        accept()

    runtime.sweeper.run()

    assert redis_client.llen(names.RUN_QUEUE) == 3
    due = redis_client.zscore(keys.WATCH, unreadable.id)
    assert due > time.time() * 1000
    assert redis_client.hget(keys.job(unreadable.id), field) == value.encode()


def test_others_are_brought_back_when_one_record_cannot_be_read(
    runtime, accept, redis_client, mongo_database
):
    created_ms = int(time.time() * 1000) - 20_000
    newer = accept(created_ms=created_ms - 1)
    others = [accept(created_ms=created_ms) for _ in range(3)]
    change = {"$set": {"spec.mode": "of a newer version"}}
    mongo_database["jobs"].update_one({"_id": newer.id}, change)
    redis_client.flushall()

    runtime.sweeper.run()

    assert all(runtime.store.get(spec.id) for spec in others)
    assert runtime.store.get(newer.id) is None
    assert mongo_database["jobs"].find_one({"_id": newer.id})["status"] == "queued"


def test_others_are_brought_on_when_one_job_cannot_be_ended(runtime, accept, redis_client):
    expired = {"expires_at_ms": int(time.time() * 1000) - 1}
    broken, other = accept(**expired), accept(**expired)
    redis_client.delete(keys.events(broken.id))
    redis_client.set(keys.events(broken.id), "no stream")

    runtime.sweeper.run()

    assert runtime.store.get(other.id).status is JobStatus.INCOMPLETE


def assert_recorded_once(mongo_database, redis_client, job_ids):
    records = list(mongo_database["jobs"].find({"status": "completed"}))
    assert sorted(record["_id"] for record in records) == sorted(job_ids)
    settled = [entry["job_id"] for entry in mongo_database["ledger"].find()]
    assert sorted(settled) == sorted(job_ids)
    assert sum(redis_client.xlen(keys.records(job_id[4])) for job_id in job_ids) == 0
    assert all(0 < redis_client.ttl(keys.job(job_id)) <= 300 for job_id in job_ids)


def test_ended_jobs_are_recorded_once_when_they_are_written_again_and_again(
    runtime, ended, mongo_database, redis_client
):
    entries = runtime.record_stream.read(per_shard=10)
    runtime.records.write_finished([entry.job for entry in entries])

    runtime.writer.run()
    runtime.writer.run()

    assert_recorded_once(mongo_database, redis_client, ended)


def test_ended_jobs_wait_and_are_recorded_once_when_mongo_does_not_answer(
    runtime, ended, proxy, mongo_database, redis_client
):
    proxy.blackhole()
    with pytest.raises(StoreUnavailable):
        runtime.writer.run()
    shards = {job_id[4] for job_id in ended}
    waiting = sum(redis_client.xlen(keys.records(shard)) for shard in shards)

    proxy.heal()
    proxy.reset()
    write_until_it_works(runtime)

    assert waiting == len(ended)
    assert_recorded_once(mongo_database, redis_client, ended)


@pytest.mark.parametrize("harm", [TcpProxy.reset, TcpProxy.half_close])
def test_ended_jobs_are_recorded_once_when_connections_break(
    harm, runtime, ended, proxy, mongo_database, redis_client
):
    harm(proxy)

    write_until_it_works(runtime)

    assert_recorded_once(mongo_database, redis_client, ended)


def write_until_it_works(runtime):
    """Write as beat has it done: again, until MongoDB is there."""
    give_up_at = time.monotonic() + 20
    while True:
        try:
            return runtime.writer.run()
        except StoreUnavailable:
            if time.monotonic() > give_up_at:
                raise
