"""Comparisons, and the answers that can be compared, on a real server."""

from __future__ import annotations

import msgspec
import pytest
from pymongo.errors import WriteError

from core.errors import StoreUnavailable
from core.ids import new_user_id
from core.jobs import Feedback, Job, JobStatus, Question
from core.models import read_catalogue
from core.outcome import AgentReport, Answer, CacheUse, Outcome, Route
from storage.records.answers import CheaperAnswers
from storage.records.comparisons import Comparisons
from storage.records.feedback import FeedbackRecords
from storage.records.indexes import ensure_indexes, ensure_validators
from storage.records.jobs import JobRecords
from tests.jobs import make_comparison, make_spec

CATALOGUE = read_catalogue("groq")
DEEP, QUICK = CATALOGUE.for_tier("deep"), CATALOGUE.for_tier("quick")
REPORT = AgentReport(name="sage", status="completed", tier="quick", model=QUICK.id, reason="")
OUTCOME = Outcome(
    answer=Answer(text="Because.", finish_reason="stop", agents=("sage",)),
    agents=(REPORT,),
    cost_micros=7,
    route=Route(tier="quick", model=QUICK.id, reason="quick mode"),
    cache=CacheUse(status="miss"),
)


@pytest.fixture
def comparisons(mongo_database):
    ensure_validators(mongo_database)
    ensure_indexes(mongo_database)
    return Comparisons(mongo_database)


@pytest.fixture
def record(mongo_database):
    """Puts a finished job on record and returns its id."""
    records = JobRecords(mongo_database)

    def record(message="Why?", status=JobStatus.COMPLETED, outcome=OUTCOME, **changes):
        spec = make_spec(**changes)
        job = Job(
            spec=spec,
            question=Question(message),
            status=status,
            outcome=outcome,
            attempt=1,
            finished_ms=1,
        )
        records.write_finished([job])
        return spec.id

    return record


@pytest.fixture
def answers(mongo_database):
    return CheaperAnswers(mongo_database)


def test_comparisons_are_read_as_they_were_stored_newest_first(comparisons):
    old, new = make_comparison("tie"), make_comparison("worse", at_ms=1_795_413_600_001)
    comparisons.add(old)
    comparisons.add(new)

    assert comparisons.since(old.at_ms) == [new, old]
    assert comparisons.since(new.at_ms) == [new]


def test_first_comparison_stays_when_a_job_is_compared_twice(comparisons):
    first = make_comparison("tie")

    comparisons.add(first)
    comparisons.add(msgspec.structs.replace(first, verdict="worse"))

    assert comparisons.since(0) == [first]


def test_write_is_refused_when_a_comparison_would_not_fit_the_schema(comparisons, mongo_database):
    kept = make_comparison("tie")
    comparisons.add(kept)

    with pytest.raises(StoreUnavailable):
        comparisons.add(make_comparison("excellent"))
    with pytest.raises(WriteError):
        mongo_database["comparisons"].update_one(
            {"_id": kept.job_id}, {"$set": {"verdict": "excellent"}}
        )


def test_a_finished_answer_has_all_that_asking_again_needs(answers, record):
    ids = [record(f"Why {n}?", temperature=0.5) for n in range(3)]

    found = list(answers.get([ids[2], "job_gone", ids[0]]))

    assert sorted(answers.ids(DEEP, since_ms=0)) == sorted(ids)
    assert [answer.spec.id for answer in found] == [ids[2], ids[0]]
    first = found[0]
    assert (first.question.message, first.text, first.agent) == ("Why 2?", "Because.", "sage")
    assert (first.route, first.cost_micros) == (OUTCOME.route, 7)
    assert (first.spec.max_tokens, first.spec.temperature) == (100, 0.5)


@pytest.mark.parametrize(
    "changed",
    [
        {"route": None},
        {"route": Route(tier="deep", model=QUICK.id, reason="")},
        {"route": Route(tier="standard", model=DEEP.id, reason="")},
        {"agents": (REPORT, REPORT)},
        {"synthesis": REPORT},
        {"cache": CacheUse(status="hit")},
        {"cache": CacheUse(status="coalesced")},
    ],
    ids=str,
)
def test_an_answer_is_left_out_when_a_comparison_would_say_nothing(answers, record, changed):
    record(outcome=msgspec.structs.replace(OUTCOME, **changed))
    bypassed = record(outcome=msgspec.structs.replace(OUTCOME, cache=CacheUse()))

    assert answers.ids(DEEP, since_ms=0) == [bypassed]


def test_an_answer_is_left_out_when_it_is_old_not_whole_or_of_a_conversation(answers, record):
    record(created_ms=999)
    record(status=JobStatus.INCOMPLETE)
    record(conversation_id="talk")

    assert answers.ids(DEEP, since_ms=1000) == []


def test_questions_and_ratings_are_read_by_job(answers, record, mongo_database):
    liked, unrated, disliked = (record(f"Why {n}?") for n in range(3))
    user_id = new_user_id()
    for job_id, rating in ((liked, "up"), (disliked, "down")):
        feedback = Feedback(rating=rating, at_ms=1_795_413_600_000)
        FeedbackRecords(mongo_database).set(user_id, job_id, feedback)

    assert answers.questions([unrated, "job_gone"]) == {unrated: "Why 1?"}
    assert answers.ratings(DEEP, since_ms=0) == {liked: 1.0, disliked: 0.0}
