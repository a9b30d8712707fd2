"""Acts on many jobs, carried out on real servers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.budgets import Budget
from core.job_filter import JobFilter
from core.jobs import JobStatus, Question
from core.lessons import NOTHING_LEARNED
from core.limit_errors import TooManyActions
from core.models import read_catalogue
from core.outcome import JobError, Outcome
from core.settings import Settings
from core.timing import now_ms
from storage.accounts.cache_secrets import CacheSecrets
from storage.accounts.users import Accounts
from storage.jobs.cancellation import cancellation_of
from storage.jobs.lines import Lines
from storage.jobs.recovery import Recovery
from storage.records.bulk import BulkActions
from storage.records.documents import to_time
from storage.records.indexes import ensure_indexes
from storage.records.job_search import JobSearch
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import LEASE_S, ClaimingAttempts
from tests.fakes import SentWakeUps
from tests.jobs import ROOMY, make_spec
from workers.queue import JobQueue
from workers.resubmission import Resubmission
from workers.upkeep import bulk
from workers.upkeep.bulk import BulkRunner
from workers.upkeep.records import RecordWriter

FAILED = Outcome(error=JobError("model_error", "It failed."))
QUESTION = Question("Where do foxes sleep?")


@pytest.fixture
def runtime(redis_client, mongo_database):
    ensure_indexes(mongo_database)
    store, records = AcceptingStore(redis_client), JobRecords(mongo_database, insert_s=10)
    accounts = Accounts(mongo_database)
    queue = JobQueue(Lines(redis_client, lease_s=LEASE_S), SentWakeUps())
    resubmission = Resubmission(
        *(Settings(), accounts, CacheSecrets(mongo_database), store.acceptance),
        LostJobs(store, Recovery(redis_client), records, Ledger(mongo_database)),
        *(records, read_catalogue("groq"), lambda _: NOTHING_LEARNED, queue.submit),
    )
    actions, search = BulkActions(mongo_database), JobSearch(mongo_database, store)
    cancellation = cancellation_of(redis_client, lease_s=LEASE_S)
    return SimpleNamespace(
        store=store,
        records=records,
        accounts=accounts,
        actions=actions,
        search=search,
        attempts=ClaimingAttempts(redis_client),
        writer=RecordWriter(RecordStream(redis_client, store), records),
        runner=BulkRunner(actions, search, cancellation, resubmission),
    )


@pytest.fixture
def user(runtime, mongo_database):
    user = runtime.accounts.create_trial()
    mongo_database["users"].update_one({"_id": user.id}, {"$set": {"plan": "basic"}})
    runtime.accounts._cache.clear()
    return user


@pytest.fixture
def submit(runtime, user):
    def submit(**changes):
        spec = make_spec(user_id=user.id, **changes)
        runtime.store.accept(spec, QUESTION, ROOMY, None)
        runtime.records.insert(runtime.store.get_whole([spec.id])[0])
        return spec

    return submit


@pytest.fixture
def fail(runtime, submit):
    def fail(**changes):
        spec = submit(**changes)
        runtime.attempts.finish(runtime.attempts.claim(spec.id), JobStatus.FAILED, FAILED)
        runtime.writer.run()
        return spec

    return fail


@pytest.fixture
def carry_out(runtime, user):
    """Return what begins an action, lets the loop turn until it stands still, and returns it."""

    def carry_out(kind, turns=3, **wanted):
        action = runtime.actions.begin(user.id, kind, JobFilter(**wanted))
        for _ in range(turns):
            runtime.runner.run()
        return runtime.actions.get(user.id, action.id)

    return carry_out


def status_of(runtime, spec):
    return runtime.store.get(spec.id).status


def retries_of(runtime, user):
    found = runtime.search.page(user.id, JobFilter(), limit=100).jobs
    return [job for job in found if job.spec.retry_of is not None]


def test_all_that_match_are_cancelled_and_no_others(runtime, submit, fail, carry_out, monkeypatch):
    monkeypatch.setattr(bulk, "_JOBS_AT_ONCE", 4)
    meant = [submit(metadata={"run": "a"}) for _ in range(10)]
    running = submit(metadata={"run": "a"})
    runtime.attempts.claim(running.id)
    other, ended = submit(metadata={"run": "b"}), fail(metadata={"run": "a"})

    action = carry_out("cancel", unfinished=True, metadata=(("run", "a"),))

    assert (action.status, action.done, action.skipped, action.refused) == ("completed", 11, 0, {})
    assert action.finished_ms >= action.created_ms
    assert {status_of(runtime, spec) for spec in meant} == {JobStatus.CANCELLED}
    # Its worker ends it.
    assert status_of(runtime, running) is JobStatus.IN_PROGRESS
    assert status_of(runtime, other) is JobStatus.QUEUED
    assert status_of(runtime, ended) is JobStatus.FAILED


def test_what_is_submitted_afterwards_is_not_meant(runtime, submit, user):
    submit()
    action = runtime.actions.begin(user.id, "cancel", JobFilter(unfinished=True))
    later = submit(created_ms=now_ms() + 5)

    runtime.runner.run()

    assert runtime.actions.get(user.id, action.id).done == 1
    assert status_of(runtime, later) is JobStatus.QUEUED


def test_a_page_that_was_interrupted_is_done_again(runtime, submit, user, monkeypatch):
    specs = [submit() for _ in range(6)]
    action = runtime.actions.begin(user.id, "cancel", JobFilter(unfinished=True))
    real, calls = runtime.runner._cancellation.cancel, []

    def die_at_the_third(job):
        calls.append(job.id)
        if len(calls) == 3:
            raise SystemExit
        real(job)

    monkeypatch.setattr(runtime.runner._cancellation, "cancel", die_at_the_third)
    with pytest.raises(SystemExit):
        runtime.runner.run()
    monkeypatch.undo()
    # Nobody else takes it at once.
    runtime.runner.run()
    assert runtime.actions.get(user.id, action.id).status == "running"

    runtime.actions.note(runtime.actions.get(user.id, action.id), now_ms())
    runtime.runner.run()

    found = runtime.actions.get(user.id, action.id)
    # What was done and not noted is not met any more, and not counted.
    assert found.status == "completed"
    assert 0 < found.done < 6
    assert {status_of(runtime, spec) for spec in specs} == {JobStatus.CANCELLED}


def test_failed_jobs_are_asked_again_with_what_they_asked(runtime, user, submit, fail, carry_out):
    failed = [fail(metadata={"n": str(n)}, priority=7, agent="dev") for n in range(3)]
    submit()

    action = carry_out("retry", status=JobStatus.FAILED)

    assert (action.status, action.done, action.refused) == ("completed", 3, {})
    again = retries_of(runtime, user)
    assert sorted(job.spec.retry_of for job in again) == sorted(spec.id for spec in failed)
    for job in again:
        assert job.status is JobStatus.QUEUED
        assert job.question == QUESTION
        assert (job.spec.priority, job.spec.agent, job.spec.plan) == (7, "dev", "basic")
        assert job.spec.budgets == (Budget("user", 20_000_000),)
        assert job.spec.reserved_micros >= job.spec.least_micros > 0
        assert job.spec.cache.mode == "refresh"
        assert job.spec.cache_secret
        assert runtime.attempts.claim(job.id) is not None


def test_each_is_asked_again_once_however_often_the_page_is_done(runtime, user, fail):
    for _ in range(3):
        fail()
    action = runtime.actions.begin(user.id, "retry", JobFilter(status=JobStatus.FAILED))
    runtime.runner.run()
    assert runtime.actions.get(user.id, action.id).done == 3

    # As if its process had died before it could note that.
    runtime.actions.note(action, now_ms())
    runtime.runner.run()

    assert runtime.actions.get(user.id, action.id).done == 3
    assert len(retries_of(runtime, user)) == 3


def test_a_limit_is_waited_for(runtime, user, fail, carry_out, mongo_database):
    mongo_database["users"].update_one({"_id": user.id}, {"$set": {"plan": "trial"}})
    runtime.accounts._cache.clear()
    for _ in range(12):
        fail()

    action = carry_out("retry", status=JobStatus.FAILED)

    assert (action.status, action.waits_for) == ("running", "too_many_jobs")
    assert len(retries_of(runtime, user)) == 10
    ended = retries_of(runtime, user)[:2]
    for job in ended:
        runtime.attempts.finish(runtime.attempts.claim(job.id), JobStatus.FAILED, FAILED)
    runtime.actions.note(action, now_ms())
    runtime.runner.run()
    found = runtime.actions.get(user.id, action.id)
    assert (found.status, found.done, found.waits_for) == ("completed", 12, None)


def test_what_cannot_be_met_is_counted_by_its_code(runtime, user, fail, carry_out, mongo_database):
    gone = fail()
    mongo_database["jobs"].update_one({"_id": gone.id}, {"$set": {"question.message": ""}})
    fail(route=gone.route.__class__(model="no-such-model"))
    fail()

    action = carry_out("retry", status=JobStatus.FAILED)

    assert action.refused == {"content_gone": 1, "unknown_model": 1}
    assert (action.status, action.done) == ("completed", 1)


def test_a_day_is_the_most_that_it_waits(runtime, user, fail, mongo_database):
    fail()
    action = runtime.actions.begin(user.id, "retry", JobFilter(status=JobStatus.FAILED))
    long_ago = {"$set": {"created_at": to_time(action.created_ms - 25 * 3_600_000)}}
    mongo_database["bulk_actions"].update_one({"_id": action.id}, long_ago)

    runtime.runner.run()

    assert runtime.actions.get(user.id, action.id).status == "expired"


def test_ten_actions_run_at_a_time(runtime, user):
    for _ in range(10):
        runtime.actions.begin(user.id, "cancel", JobFilter(unfinished=True))

    with pytest.raises(TooManyActions):
        runtime.actions.begin(user.id, "cancel", JobFilter(unfinished=True))
