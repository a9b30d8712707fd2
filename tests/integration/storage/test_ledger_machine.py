"""Whatever dies in whatever order, the ledger has each end once and everybody agrees at rest.

Hypothesis chooses when jobs are taken in, end and are recorded, where upkeep dies between two
writes, and when Redis falls back to what it had last written to disk.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core.ids import new_user_id
from core.jobs import Job, JobStatus
from core.outcome import Outcome
from storage import keys
from storage.records.indexes import ensure_indexes
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger, month_of, to_settlement
from storage.records.lost_jobs import LostJobs
from storage.records.reconciliation import Reconciliation
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import QUESTION, ROOMY, make_spec
from workers.upkeep.records import RecordWriter

MOST_JOBS = 4
COSTS = st.integers(0, 90)


class LedgerMachine(RuleBasedStateMachine):
    """One user's jobs, their records and what they cost."""

    jobs = Bundle("jobs")

    def __init__(self, redis, database):
        super().__init__()
        redis.flushall()
        for name in database.list_collection_names():
            database[name].delete_many({})
        self.redis, self.database = redis, database
        self.store, self.attempts = AcceptingStore(redis), ClaimingAttempts(redis)
        self.records, self.ledger = JobRecords(database), Ledger(database)
        self.lost_jobs = LostJobs(self.store, self.store.recovery, self.records, self.ledger)
        self.user_id = new_user_id()
        self.specs = {}
        #: Each end that a worker brought about, by job and cost.
        self.ends = Counter()
        self.on_disk = {}
        self.has_lost = False

    def stream(self):
        return RecordStream(self.redis, self.store)

    @precondition(lambda self: len(self.specs) < MOST_JOBS)
    @rule(target=jobs)
    def accept(self):
        spec = make_spec(user_id=self.user_id)
        self.store.accept(spec, QUESTION, ROOMY, None)
        self.records.insert(Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=QUESTION))
        self.specs[spec.id] = spec
        return spec.id

    @rule(job_id=jobs, cost=COSTS)
    def end(self, job_id, cost):
        job = self.store.get(job_id)
        claim = None if job is None or job.is_terminal else self.attempts.claim(job_id)
        if claim is not None:
            outcome = Outcome(cost_micros=cost)
            if self.attempts.finish(claim, JobStatus.COMPLETED, outcome):
                self.ends[job_id, cost] += 1

    @rule()
    def record(self):
        RecordWriter(self.stream(), self.records).run()

    @rule()
    def die_between_ledger_and_records(self):
        entries = self.stream().read(per_shard=9)
        ended = [entry.job for entry in entries if isinstance(entry.job, Job)]
        if ended:
            self.ledger.add([to_settlement(job) for job in ended])

    @rule()
    def die_before_letting_go(self):
        entries = self.stream().read(per_shard=9)
        ended = [entry.job for entry in entries if isinstance(entry.job, Job)]
        if ended:
            self.records.write_finished(ended)

    @rule()
    def write_to_disk(self):
        self.on_disk = {name: self.redis.dump(name) for name in self.redis.keys("*")}

    @rule()
    def fall_back_to_the_disk(self):
        self.redis.flushall()
        for name, dumped in self.on_disk.items():
            self.redis.restore(name, 0, dumped)
        self.attempts = ClaimingAttempts(self.redis)
        self.has_lost = True

    @rule(job_id=jobs, cost=COSTS)
    def lose_an_end_that_is_recorded(self, job_id, cost):
        self.write_to_disk()
        self.end(job_id, cost)
        self.record()
        self.fall_back_to_the_disk()

    def teardown(self):
        unfinished = self.records.unfinished_of(
            self.user_id, self.records.unfinished_ids_of(self.user_id)
        )
        self.lost_jobs.bring_back(unfinished)
        for job_id in self.specs:
            if self.redis.hexists(keys.job(job_id), "lease"):
                self.redis.hset(keys.job(job_id), "lease", 1)
            self.end(job_id, 7)
        self.record()
        self.everybody_agrees()

    def everybody_agrees(self):
        if not self.specs:
            return
        month = month_of(next(iter(self.specs.values())).created_ms)
        rows = list(self.database["ledger"].find({}))
        settled = Counter(row["job_id"] for row in rows if row["kind"] == "settlement")
        paid = Counter((row["job_id"], row["cost_micros"]) for row in rows)
        assert settled == Counter(self.specs.keys())
        # Nothing is paid that did not happen, and nothing twice.
        assert paid <= self.ends
        if not self.has_lost:
            assert paid == self.ends
        reconciliation = Reconciliation(self.redis, self.database)
        found = [d.what for d in reconciliation.verify(month).differences]
        assert not found or (self.has_lost and all(what.startswith("paid") for what in found))
        reconciliation.rebuild(month)
        assert list(reconciliation.verify(month).differences) == []
        spent = int(self.redis.hget(keys.spend_of_month(self.user_id, month), "spent"))
        assert spent == sum(row["cost_micros"] for row in rows)


@pytest.mark.parametrize(
    ("examples", "is_same_each_time"),
    [(40, True), pytest.param(400, False, marks=pytest.mark.long)],
)
def test_each_end_is_paid_once_and_all_agree_whatever_dies(
    examples, is_same_each_time, redis_client, mongo_database
):
    ensure_indexes(mongo_database)
    run_state_machine_as_test(
        lambda: LedgerMachine(redis_client, mongo_database),
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            derandomize=is_same_each_time,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
