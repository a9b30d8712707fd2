"""The check after every fault has to see each kind of harm."""

from __future__ import annotations

import pytest

from core.events import ANSWER_DELTA, NewEvent
from core.jobs import Job, JobStatus
from core.outcome import Answer, Outcome
from storage import keys
from storage.jobs.attempts import Attempts, Batch
from storage.jobs.store import JobStore
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.faults.invariants import check_invariants, unfinished
from tests.jobs import QUESTION, ROOMY, make_spec

pytestmark = pytest.mark.faults

DONE = Outcome(answer=Answer(text="new", finish_reason="stop", agents=("dev",)), cost_micros=30)


@pytest.fixture
def spec(redis_client, mongo_database):
    """A job that was tried twice, ended and was recorded as it should be."""
    spec = make_spec()
    store, attempts = JobStore(redis_client), Attempts(redis_client, lease_s=15)
    records, stream = JobRecords(mongo_database), RecordStream(redis_client, store)
    store.accept(spec, QUESTION, ROOMY, None)
    records.insert(Job(spec=spec, status=JobStatus.QUEUED, cursor=1))
    for text in ("old", "new"):
        redis_client.hset(keys.job(spec.id), "lease", 1)
        claim = attempts.claim(spec.id)
        attempts.append([(claim, Batch([NewEvent(ANSWER_DELTA, {"text": text})]))])
    attempts.finish(claim, JobStatus.COMPLETED, DONE)
    entries = stream.read(per_shard=10)
    records.write_finished([entry.job for entry in entries])
    stream.let_go(entries)
    return spec


def test_nothing_is_wrong_when_every_job_ended_as_it_should(spec, redis_client, mongo_database):
    assert unfinished(redis_client, mongo_database, [spec.id]) == []

    check_invariants(redis_client, mongo_database, [spec.id])


def drop_record(spec, redis, mongo):
    mongo["jobs"].delete_one({"_id": spec.id})


def leave_record_open(spec, redis, mongo):
    mongo["jobs"].update_one({"_id": spec.id}, {"$set": {"status": "queued"}})


def record_another_end(spec, redis, mongo):
    mongo["jobs"].update_one({"_id": spec.id}, {"$set": {"status": "failed"}})


def drop_settlement(spec, redis, mongo):
    mongo["ledger"].delete_one({"job_id": spec.id})


def settle_twice(spec, redis, mongo):
    mongo["ledger"].insert_one({"_id": "another", "job_id": spec.id})


def lose_job(spec, redis, mongo):
    redis.delete(keys.job(spec.id))


def lose_event(spec, redis, mongo):
    redis.xdel(keys.events(spec.id), "3-0")


def lose_end(spec, redis, mongo):
    redis.xdel(keys.events(spec.id), "7-0")


def end_twice(spec, redis, mongo):
    redis.xadd(keys.events(spec.id), {"t": "job.failed", "b": "{}"}, id="8-0")


def speak_after_end(spec, redis, mongo):
    redis.xadd(keys.events(spec.id), {"t": "route.selected", "b": "{}"}, id="8-0")


def answer_otherwise(spec, redis, mongo):
    mongo["jobs"].update_one({"_id": spec.id}, {"$set": {"outcome.answer.text": "oldnew"}})


def leave_lease(spec, redis, mongo):
    redis.hset(keys.job(spec.id), "lease", 1)


def leave_active(spec, redis, mongo):
    redis.zadd(keys.active(spec.user_id), {spec.id: 1})


def leave_reservation(spec, redis, mongo):
    redis.hincrby(keys.spend(spec.user_id, spec.created_ms), "reserved", 50)


def release_twice(spec, redis, mongo):
    redis.hincrby(keys.spend(spec.user_id, spec.created_ms), "reserved", -50)


def leave_dispatch(spec, redis, mongo):
    redis.zadd(keys.dispatch(spec.id), {spec.id: 1})


def leave_unread(spec, redis, mongo):
    redis.xadd(keys.records(spec.id[4]), {"id": spec.id})


def keep_for_ever(spec, redis, mongo):
    redis.persist(keys.job(spec.id))


def leave_pending(spec, redis, mongo):
    stream = keys.records(spec.id[4])
    entry_id = redis.xadd(stream, {"id": spec.id})
    redis.xreadgroup("upkeep", "upkeep", {stream: ">"})
    redis.xdel(stream, entry_id)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (drop_record, "has no record"),
        (leave_record_open, "is recorded as queued"),
        (record_another_end, "is completed in Redis and failed in its record"),
        (drop_settlement, "has 0 settlements"),
        (settle_twice, "has 2 settlements"),
        (lose_job, "is not in Redis"),
        (lose_event, "has events numbered"),
        (lose_end, "has terminal events []"),
        (end_twice, "has terminal events [7, 8]"),
        (speak_after_end, "has terminal events [7] among 8"),
        (answer_otherwise, "told 'new' and answered 'oldnew'"),
        (leave_lease, "still has a lease"),
        (leave_active, ":active:"),
        (leave_reservation, "reserves 50"),
        (release_twice, "reserves -50"),
        (leave_dispatch, "dispatch holds"),
        (leave_unread, "holds 1 entries"),
        (keep_for_ever, "never expires"),
        (leave_pending, "1 entries that were read and not let go"),
    ],
)
def test_check_fails_when_an_invariant_is_violated(harm, said, spec, redis_client, mongo_database):
    harm(spec, redis_client, mongo_database)

    with pytest.raises(AssertionError) as failure:
        check_invariants(redis_client, mongo_database, [spec.id])

    assert said in str(failure.value)


def test_check_fails_when_two_submissions_share_a_job(spec, redis_client, mongo_database):
    with pytest.raises(AssertionError, match="two submissions have one job"):
        check_invariants(redis_client, mongo_database, [spec.id, spec.id])


def test_job_that_redis_lost_passes_when_only_its_log_is_gone(spec, redis_client, mongo_database):
    redis_client.flushall()

    check_invariants(redis_client, mongo_database, [spec.id], log_survives=False)


def test_job_counts_as_unfinished_when_it_waits_for_its_record(redis_client, mongo_database):
    spec = make_spec()
    JobStore(redis_client).accept(spec, QUESTION, ROOMY, None)

    waiting = unfinished(redis_client, mongo_database, [spec.id])

    assert waiting == [spec.id]
