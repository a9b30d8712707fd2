"""How conversations get their titles, on real servers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.budgets import Budget
from core.jobs import JobStatus, Question
from core.lessons import NOTHING_LEARNED
from core.models import read_catalogue
from core.outcome import Answer, JobError, Outcome
from storage import keys
from storage.jobs.lines import Lines
from storage.jobs.user_keys import UserKeys
from storage.records.conversations import Conversations
from storage.records.jobs import JobRecords
from storage.records.retention import JobContent
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import LEASE_S, ClaimingAttempts
from tests.fakes import SentWakeUps
from tests.jobs import ROOMY, make_spec
from workers.queue import JobQueue
from workers.upkeep.records import RecordWriter
from workers.upkeep.titles import TitleMaker

CATALOGUE = read_catalogue("groq")
ASKED = Question("Where do red foxes sleep in a town?")


@pytest.fixture
def runtime(redis_client, mongo_database):
    store, records = AcceptingStore(redis_client), JobRecords(mongo_database, insert_s=10)
    conversations, user_keys = Conversations(mongo_database), UserKeys(redis_client)
    titles = TitleMaker(
        conversations,
        store.acceptance,
        records,
        JobQueue(Lines(redis_client, lease_s=LEASE_S), SentWakeUps()),
        CATALOGUE,
        lambda _: NOTHING_LEARNED,
        user_keys,
        JobContent(mongo_database),
    )
    stream = RecordStream(redis_client, store)
    return SimpleNamespace(
        store=store,
        records=records,
        attempts=ClaimingAttempts(redis_client),
        conversations=conversations,
        titles=titles,
        user_keys=user_keys,
        writer=RecordWriter(stream, records, on_written=titles.take),
    )


@pytest.fixture
def begin(runtime):
    """Return what begins a conversation and has its first question answered."""

    def begin(answer="Under sheds.", **changes):
        spec = make_spec(conversation_id="foxes", turn=1, **changes)
        runtime.store.accept(spec, ASKED, ROOMY, None)
        runtime.records.insert(runtime.store.get_whole([spec.id])[0])
        runtime.conversations.note_messages([(spec, ASKED)])
        end(runtime, spec.id, answer)
        return spec

    return begin


def end(runtime, job_id, answer, error=None):
    said = Answer(text=answer, finish_reason="stop", agents=("dev",)) if answer else None
    status = JobStatus.FAILED if error else JobStatus.COMPLETED
    outcome = Outcome(answer=said, error=error, cost_micros=3)
    runtime.attempts.finish(runtime.attempts.claim(job_id), status, outcome)
    runtime.writer.run()
    runtime.titles.run()


def title_jobs(runtime, first):
    found = runtime.records.list_of_user(first.user_id, limit=10)
    return [job for job in found if job.spec.title_of is not None]


def conversation(runtime, first):
    return runtime.conversations.get(first.user_id, "foxes")


def test_a_first_answer_has_the_quick_tier_asked_for_a_title(runtime, begin):
    first = begin(priority=7, budgets=(Budget("user", 900_000), Budget("key", 800_000)))

    (asked,) = title_jobs(runtime, first)

    assert asked.spec.title_of == "foxes"
    assert (asked.spec.mode, asked.spec.is_batch, asked.spec.priority) == ("quick", True, 0)
    assert asked.spec.budgets == first.budgets
    assert 0 < asked.spec.least_micros <= asked.spec.reserved_micros
    assert ASKED.message in asked.question.message
    assert "Under sheds." in asked.question.message
    assert conversation(runtime, first).title == ASKED.message


def test_the_answer_becomes_the_title_and_its_quotation_goes(runtime, begin, redis_client):
    first = begin()
    (asked,) = title_jobs(runtime, first)

    end(runtime, asked.id, "“Sleeping Places of Town Foxes.”")

    found = conversation(runtime, first)
    assert (found.title, found.titled_by) == ("Sleeping Places of Town Foxes", "model")
    (kept,) = title_jobs(runtime, first)
    assert (kept.question.message, kept.outcome.answer.text) == ("", "")
    assert (kept.status, kept.outcome.cost_micros) == (JobStatus.COMPLETED, 3)
    assert kept.content_removed_ms is not None
    assert not redis_client.exists(*keys.of_script(asked.id))
    # The words of the question still find it, and those of the title do.
    for text in ("sleep", "places"):
        assert runtime.conversations.search(first.user_id, text, limit=5) == [found]


def test_a_title_that_the_user_gave_meanwhile_stays(runtime, begin):
    first = begin()
    (asked,) = title_jobs(runtime, first)
    runtime.conversations.rename(first.user_id, "foxes", "Mine")

    end(runtime, asked.id, "Town Foxes")

    assert conversation(runtime, first).title == "Mine"


@pytest.mark.parametrize("answer", ["", "..."])
def test_an_answer_without_a_title_leaves_the_question(runtime, begin, answer):
    first = begin()
    (asked,) = title_jobs(runtime, first)

    end(runtime, asked.id, answer, None if answer else JobError("no_answer", "Nobody answered."))

    found = conversation(runtime, first)
    assert (found.title, found.titled_by) == (ASKED.message, "question")
    assert title_jobs(runtime, first)[0].question.message == ""


def test_a_title_is_asked_for_once(runtime, begin):
    first = begin()

    runtime.titles.take(runtime.store.get_whole([first.id]))
    runtime.titles.run()

    assert len(title_jobs(runtime, first)) == 1


@pytest.mark.parametrize(
    "changes", [{"turn": 2}, {"turn": 0, "conversation_id": None}], ids=["later", "no message"]
)
def test_nothing_else_is_titled(runtime, changes):
    spec = make_spec(**({"conversation_id": "foxes"} | changes))
    runtime.store.accept(spec, ASKED, ROOMY, None)
    runtime.records.insert(runtime.store.get_whole([spec.id])[0])
    runtime.conversations.note_messages([(spec, ASKED)])

    end(runtime, spec.id, "Under sheds.")

    assert title_jobs(runtime, spec) == []


def test_no_title_is_asked_for_where_money_is_short(runtime, begin):
    first = begin(budgets=(Budget("user", 3),), reserved_micros=3)

    assert title_jobs(runtime, first) == []
    assert runtime.user_keys.unfinished(first.user_id) == []
    assert conversation(runtime, first).titled_by == "question"


def test_a_title_counts_as_no_request(runtime, begin, redis_client):
    first = begin()

    counted = redis_client.hgetall(keys.rates(first.user_id))

    assert int(counted[b"requests_per_minute:sum"]) == 1
