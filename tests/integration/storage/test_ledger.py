"""The ledger: each end is paid once, what was paid again is told, and sums can be made right."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.jobs import Job, JobStatus
from core.outcome import Outcome
from storage import keys
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger, month_of
from storage.records.reconciliation import Reconciliation
from storage.records.stream import RecordStream
from tests.jobs import QUESTION, ROOMY, make_spec
from workers.upkeep.records import RecordWriter

COST = 30


@pytest.fixture
def records(mongo_database):
    return JobRecords(mongo_database)


@pytest.fixture
def writer(redis_client, store, records):
    return RecordWriter(RecordStream(redis_client, store), records)


@pytest.fixture
def end(store, attempts, records, writer):
    """Return what takes a job in, ends it and records it."""

    def end(cost=COST, is_recorded=True, **changes):
        spec = make_spec(**changes)
        store.accept(spec, QUESTION, ROOMY, None)
        records.insert(Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=QUESTION))
        claim = attempts.claim(spec.id)
        attempts.finish(claim, JobStatus.COMPLETED, Outcome(cost_micros=cost))
        if is_recorded:
            writer.run()
        return spec

    return end


@pytest.fixture
def reconciliation(redis_client, mongo_database):
    return Reconciliation(redis_client, mongo_database)


def month(spec):
    return month_of(spec.created_ms)


def budget(spec):
    return keys.spend(spec.user_id, spec.created_ms)


def told(report):
    return [f"{difference.of} {difference.what}" for difference in report.differences]


def test_what_a_month_has_paid_is_the_sum_of_its_entries(end, mongo_database):
    first = end()
    end(user_id=first.user_id, cost=12)
    end(cost=7)
    ledger = Ledger(mongo_database)

    assert ledger.paid_in(month(first), first.user_id) == COST + 12
    assert ledger.paid_by("day", "", None, first.created_ms) == COST + 12 + 7
    assert ledger.paid_in("202001", first.user_id) == 0


def test_nothing_is_added_when_an_end_is_recorded_again(end, store, records, mongo_database):
    spec = end()

    records.write_finished([replace(store.get(spec.id), question=QUESTION)])

    assert mongo_database["ledger"].count_documents({}) == 1


def test_another_end_of_a_job_is_a_rerun_and_is_paid_once_more(
    end, store, records, mongo_database, reconciliation
):
    spec = end()
    job = store.get(spec.id)
    again = replace(
        job,
        question=QUESTION,
        finished_ms=job.finished_ms + 5_000,
        outcome=replace(job.outcome, cost_micros=11),
    )

    for _ in range(2):
        records.write_finished([again])

    ledger = Ledger(mongo_database)
    assert ledger.paid_in(month(spec), spec.user_id) == COST + 11
    assert ledger.count_reruns() == 1
    assert reconciliation.verify(month(spec)).reruns == 1


def test_all_agree_when_nothing_was_lost(end, store, reconciliation):
    spec = end()
    store.accept(make_spec(user_id=spec.user_id), QUESTION, ROOMY, None)

    report = reconciliation.verify(month(spec))

    assert told(report) == []
    assert (report.jobs, report.micros, report.in_flight) == (1, COST, 0)


@pytest.mark.parametrize(
    ("name", "said"),
    [("spent", "paid 5 micro-dollars by Redis, 30 by the ledger"), ("reserved", "holds 5")],
)
def test_a_sum_that_differs_is_told_and_made_right(name, said, end, redis_client, reconciliation):
    spec = end()
    redis_client.hset(budget(spec), name, 5)

    (difference,) = told(reconciliation.verify(month(spec)))
    rebuilt = reconciliation.rebuild(month(spec))

    assert said in difference
    assert difference.startswith(spec.user_id)
    assert (rebuilt.users, rebuilt.busy) == (1, [])
    assert told(reconciliation.verify(month(spec))) == []


def test_a_settlement_that_is_missing_is_told_and_added(end, mongo_database, reconciliation):
    spec = end()
    mongo_database["ledger"].delete_many({})

    found = told(reconciliation.verify(month(spec)))
    rebuilt = reconciliation.rebuild(month(spec))

    assert f"{spec.id} has ended and has 0 settlements" in found
    assert rebuilt.settlements == 1
    assert told(reconciliation.verify(month(spec))) == []


def test_a_cost_that_differs_is_told(end, mongo_database, reconciliation):
    spec = end()
    mongo_database["ledger"].update_one({}, {"$set": {"cost_micros": 29}})

    found = told(reconciliation.verify(month(spec)))

    assert f"{spec.id} cost 30 micro-dollars and is settled by [29]" in found


def test_sums_are_left_alone_while_an_end_waits_for_its_record(
    end, redis_client, reconciliation, writer
):
    spec = end(is_recorded=False)

    report = reconciliation.verify(month(spec))
    rebuilt = reconciliation.rebuild(month(spec))

    assert (report.in_flight, told(report)) == (1, [])
    assert rebuilt.busy == [spec.user_id]
    assert redis_client.hget(budget(spec), "spent") == b"30"


def test_what_a_team_holds_is_counted_once(store, redis_client, reconciliation):
    spec = make_spec(units=4, reserved_micros=80)
    store.accept(spec, QUESTION, ROOMY, None)
    redis_client.hset(budget(spec), "reserved", 0)

    reconciliation.rebuild(month(spec))

    assert redis_client.hget(budget(spec), "reserved") == b"80"


def test_sums_come_back_when_redis_has_lost_them(end, redis_client, reconciliation):
    spec = end()
    redis_client.flushall()

    assert told(reconciliation.verify(month(spec))) == []
    reconciliation.rebuild(month(spec))

    assert redis_client.hget(budget(spec), "spent") == b"30"
