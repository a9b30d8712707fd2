"""Jobs on record: there before their promise, ended once, gone for nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from core.errors import StoreUnavailable
from core.ids import new_user_id
from core.jobs import Job, JobStatus, Question
from core.outcome import WORKER_LOST, Answer, CacheUse, JobError, Outcome
from core.settings import Settings
from storage.connections import close_all
from storage.connections import mongo_database as connect
from storage.jobs.fields import UnreadableEnd
from storage.records.jobs import JobRecords
from tests.jobs import QUESTION, make_spec
from tests.services import port_of, wait_until
from tests.tcp_proxy import TcpProxy

DONE = Outcome(answer=Answer(text="ab", finish_reason="stop", agents=("dev",)), cost_micros=30)


@pytest.fixture
def records(mongo_database):
    return JobRecords(mongo_database, insert_s=10)


@pytest.fixture
def proxy(mongo_server):
    with TcpProxy(port_of(mongo_server.url)) as proxy:
        yield proxy


@pytest.fixture
def distant_records(proxy, mongo_database):
    """Records that are reached by the proxy."""
    url = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
    settings = Settings(mongo_url=url, mongo_database=mongo_database.name)
    database = connect(settings, selection_timeout_s=2)
    yield JobRecords(database, insert_s=10)
    close_all(database)


def queued(**changes):
    spec = make_spec(**changes)
    return Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=QUESTION)


def ended(job, outcome=DONE, status=JobStatus.COMPLETED):
    end_ms = job.spec.created_ms + 5
    return msgspec.structs.replace(
        job, status=status, attempt=1, cursor=4, finished_ms=end_ms, outcome=outcome
    )


def test_job_is_found_as_it_was_when_it_is_recorded(records):
    job = queued(conversation_id="plans", metadata={"a": "b"})

    records.insert(job)

    assert records.get(job.id, job.spec.user_id) == job
    assert records.get(job.id, new_user_id()) is None
    assert records.existing([job.id, queued().id]) == {job.id}


def test_question_is_found_when_the_version_before_recorded_the_job(records, mongo_database):
    job = queued(created_ms=1_000)
    records.insert(job)
    of_job = {"_id": job.id}
    mongo_database["jobs"].update_one(
        of_job, {"$unset": {"question": 1}, "$set": {"spec.message": "Old?"}}
    )

    assert records.get(job.id, job.spec.user_id).question == Question("Old?")
    assert unfinished(records) == [(job.spec, Question("Old?"))]


def test_end_stays_when_a_job_is_recorded_again_after_it(records, mongo_database):
    job = queued()
    records.insert(job)
    for _ in range(2):
        records.write_finished([ended(job)])

    records.insert(job)

    assert records.get(job.id, job.spec.user_id) == ended(job)
    (settlement,) = mongo_database["ledger"].find({"job_id": job.id})
    assert (settlement["reserved_micros"], settlement["cost_micros"]) == (50, 30)


def test_answer_from_the_cache_is_recorded_once_when_its_write_is_repeated(records, mongo_database):
    hit = msgspec.structs.replace(DONE, cost_micros=0, cache=CacheUse(status="hit", layer="memory"))
    answered = msgspec.structs.replace(ended(queued(reserved_micros=0), hit), attempt=0)
    others = [queued(), queued()]
    for job in others:
        records.insert(job)

    for _ in range(2):
        records.write_finished([ended(others[0]), answered, ended(others[1])])

    assert records.get(answered.id, answered.spec.user_id) == answered
    assert [records.get(job.id, job.spec.user_id) for job in others] == [ended(o) for o in others]
    assert mongo_database["ledger"].count_documents({"job_id": answered.id}) == 1


def test_the_cache_secret_is_recorded_only_while_the_job_may_have_to_be_restored(
    records, mongo_database
):
    job, unreadable = (queued(cache_secret="5" * 64) for _ in range(2))
    for accepted in (job, unreadable):
        records.insert(accepted)
    restored = records.unfinished(is_batch=False, before=None, limit=9)
    assert {found.cache_secret for found, _ in restored} == {"5" * 64}

    records.write_finished([ended(job)])
    records.set_unreadable_aside(unreadable.id, UnreadableEnd())

    assert "5" * 64 not in str(list(mongo_database["jobs"].find()))


def test_every_writer_waits_for_its_own_record_when_many_write_at_once(records):
    jobs = [queued() for _ in range(200)]

    def insert(job):
        records.insert(job)
        return records.existing([job.id]) == {job.id}

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(insert, jobs))


def test_pages_hold_each_job_once_when_they_are_turned(records):
    user_id = new_user_id()
    jobs = [queued(user_id=user_id, created_ms=1_000 + number // 2) for number in range(7)]
    for job in [*jobs, queued()]:
        records.insert(job)

    seen, before = [], None
    while page := records.list_of_user(user_id, limit=3, before=before):
        seen += page
        before = page[-1].spec.created_ms, page[-1].id

    assert seen == sorted(jobs, key=lambda job: (job.spec.created_ms, job.id), reverse=True)


def unfinished(records, **changes):
    return records.unfinished(**({"is_batch": False, "before": None, "limit": 10} | changes))


def test_unfinished_jobs_of_a_class_are_listed_newest_first_page_by_page(records):
    old, young, over = queued(created_ms=1_000), queued(created_ms=3_000), queued(created_ms=1_500)
    batch = queued(created_ms=2_000, is_batch=True)
    for job in (old, young, over, batch):
        records.insert(job)
    records.write_finished([ended(over)])

    assert unfinished(records, limit=1) == [(young.spec, QUESTION)]
    assert unfinished(records, before=(3_000, young.id)) == [(old.spec, QUESTION)]
    assert unfinished(records, before=(1_000, old.id)) == []
    assert unfinished(records, is_batch=True) == [(batch.spec, QUESTION)]


def test_record_goes_only_when_its_job_has_not_ended(records):
    begun, over = queued(), queued()
    records.insert(begun)
    records.write_finished([ended(over)])

    for job in (begun, over):
        records.discard_unfinished(job.id)

    assert records.existing([begun.id, over.id]) == {over.id}


def test_dead_letters_are_those_that_lost_their_worker(records):
    failed = Outcome(error=JobError("model_failed", "It failed."))
    lost = Outcome(error=JobError(WORKER_LOST, "It lost its worker."))
    dead = ended(queued(), lost, JobStatus.FAILED)
    records.write_finished([ended(queued()), ended(queued(), failed, JobStatus.FAILED), dead])

    assert records.dead_letters(limit=10) == [dead]
    assert records.dead_letter(dead.id) == dead


@pytest.mark.parametrize("harm", [TcpProxy.reset, TcpProxy.half_close])
def test_job_is_recorded_once_when_its_connection_breaks(
    harm, distant_records, records, proxy, mongo_database
):
    job = queued()
    distant_records.insert(queued())
    harm(proxy)

    wait_until(lambda: is_inserted(distant_records, job), 15, "MongoDB to be reached again")

    assert mongo_database["jobs"].count_documents({"_id": job.id}) == 1
    assert records.get(job.id, job.spec.user_id) == job


def is_inserted(records, job):
    try:
        records.insert(job)
    except StoreUnavailable:
        return False
    return True


def test_jobs_are_recorded_when_answers_are_slow(distant_records, records, proxy):
    job = queued()
    proxy.latency_s = 0.03

    distant_records.insert(job)

    assert records.existing([job.id]) == {job.id}
