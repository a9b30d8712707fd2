"""How long jobs and their content are kept, on real servers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.job_filter import JobFilter
from core.jobs import JobStatus, Question
from core.outcome import AgentReport, Answer, Outcome
from core.public import to_public
from core.retention import KEEP_ALL, Retention
from core.words import words_of
from storage.records.indexes import ensure_indexes
from storage.records.job_logs import JobLogs
from storage.records.job_search import JobSearch
from storage.records.jobs import JobRecords
from storage.records.retention import JobContent
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import ROOMY, make_spec
from workers.upkeep.records import RecordWriter

QUESTION = Question("Where do foxes sleep?")
REPORT = AgentReport(
    name="dev", status="completed", tier="quick", model="m", reason="it suits", text="Under sheds."
)
DONE = Outcome(
    answer=Answer(text="Under sheds.", finish_reason="stop", agents=("dev",)),
    agents=(REPORT,),
    synthesis=REPORT,
    cost_micros=7,
)
NOTHING = Retention(content={"pro": 0}, records={"pro": 90})


@pytest.fixture
def runtime(redis_client, mongo_database):
    ensure_indexes(mongo_database)
    store, attempts = AcceptingStore(redis_client), ClaimingAttempts(redis_client)

    def end(retention=NOTHING, **changes):
        spec = make_spec(**({"plan": "pro"} | changes))
        records = JobRecords(mongo_database, insert_s=10, retention=retention)
        store.accept(spec, QUESTION, ROOMY, None)
        records.insert(store.get_whole([spec.id])[0])
        attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE)
        RecordWriter(RecordStream(redis_client, store), records).run()
        return spec

    return SimpleNamespace(
        end=end,
        content=JobContent(mongo_database),
        records=JobRecords(mongo_database),
        logs=JobLogs(mongo_database),
        search=JobSearch(mongo_database, store),
        document=lambda spec: mongo_database["jobs"].find_one({"_id": spec.id}),
        change=lambda spec, **fields: mongo_database["jobs"].update_one(
            {"_id": spec.id}, {"$set": fields}
        ),
    )


def test_content_goes_and_the_record_stays(runtime):
    spec = runtime.end()
    assert runtime.document(spec)["question"]["message"] == QUESTION.message

    assert runtime.content.remove_due(limit=10) == 1

    text = str(runtime.document(spec))
    assert "foxes" not in text
    assert "sheds" not in text
    job = runtime.records.get(spec.id, spec.user_id)
    shown = to_public(job)
    assert (shown["request"]["message"], shown["answer"]) == (None, None)
    assert (shown["status"], shown["cost"]["usd"]) == ("completed", 0.000007)
    assert shown["agents"][0]["text"] is None
    assert shown["content_removed_at"] is not None
    assert runtime.logs.after(job, 0) == []
    by_word = runtime.search.page(spec.user_id, JobFilter(words=words_of("foxes")), limit=5)
    by_agent = runtime.search.page(spec.user_id, JobFilter(agent="dev"), limit=5)
    assert (by_word.jobs, [one.id for one in by_agent.jobs]) == ([], [spec.id])
    assert runtime.content.remove_due(limit=10) == 0


@pytest.mark.parametrize(
    ("retention", "plan"),
    [(KEEP_ALL, "pro"), (NOTHING, "basic"), (Retention(content={"pro": 1}), "pro")],
    ids=["unsaid", "another plan", "not yet"],
)
def test_content_stays_where_its_time_has_not_come(runtime, retention, plan):
    spec = runtime.end(retention, plan=plan)

    assert runtime.content.remove_due(limit=10) == 0
    assert runtime.records.get(spec.id, spec.user_id).question == QUESTION


def test_a_record_says_when_it_is_to_go(runtime):
    document = runtime.document(runtime.end())

    assert (document["expires_at"] - document["finished_at"]).days == 90
    assert "expires_at" not in runtime.document(runtime.end(KEEP_ALL))


def test_so_many_go_at_a_time(runtime):
    for _ in range(5):
        runtime.end()

    assert [runtime.content.remove_due(limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_an_unfinished_job_keeps_its_question(runtime):
    spec = runtime.end(KEEP_ALL)
    runtime.change(spec, status="queued")

    assert runtime.content.remove([spec.id]) == 0
    assert runtime.document(spec)["question"]["message"] == QUESTION.message
