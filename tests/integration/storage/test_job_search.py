"""Lists of a user's jobs by a filter, on a real database, compared with all of them in memory."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from core.ids import new_user_id
from core.job_filter import JobFilter
from core.jobs import Job, JobStatus, Question, RouteRequest, TeamRequest
from core.outcome import AgentReport, Answer, Outcome
from core.timing import now_ms
from core.words import words_of
from storage.records import job_search
from storage.records.indexes import ensure_indexes
from storage.records.job_search import JobSearch
from storage.records.jobs import JobRecords
from tests.jobs import make_spec

USER = new_user_id()
NOW = now_ms()
DAY = 86_400_000
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE)
QUESTIONS = ("Where do red foxes sleep?", "Foxes and hens", "Ein Grüner Fuchs", "What is a queue?")
FILTERS = [
    JobFilter(),
    *(JobFilter(status=status) for status in JobStatus),
    JobFilter(mode="quick"),
    JobFilter(agent="dev"),
    JobFilter(model="small"),
    JobFilter(metadata=(("ticket", "A-1"),)),
    JobFilter(metadata=(("team", "x"), ("ticket", "A-1"))),
    JobFilter(words=words_of("fox")),
    JobFilter(words=words_of("gruner FUCHS")),
    JobFilter(words=words_of("hens red")),
    JobFilter(from_ms=NOW - 2 * DAY, to_ms=NOW - DAY),
    JobFilter(from_ms=NOW - 400 * DAY, status=JobStatus.COMPLETED, agent="dev"),
    JobFilter(mode="quick", status=JobStatus.IN_PROGRESS),
    JobFilter(mode="multi_agent", agent="luna", words=words_of("what")),
    JobFilter(metadata=(("ticket", "A-1"),), status=JobStatus.FAILED, words=words_of("fox")),
    JobFilter(metadata=(("ticket", "none"),)),
]


class Live:
    """Where unfinished jobs stand; Redis has lost some of them."""

    def __init__(self, jobs):
        self.jobs = {job.id: job for job in jobs}

    def get_many(self, job_ids):
        return [self.jobs.get(job_id) for job_id in job_ids]


def some_job(chooser, number):
    team = TeamRequest(agents=("dev", "luna")) if chooser.random() < 0.2 else None
    metadata = {"ticket": f"A-{chooser.randint(0, 3)}", "team": chooser.choice("xyz")}
    spec = make_spec(
        user_id=USER,
        # Many of the same millisecond, and gaps of months.
        created_ms=NOW - chooser.choice((0, 1, 5_000, DAY, 40 * DAY, 500 * DAY)) - number % 7,
        mode="multi_agent" if team else chooser.choice(("quick", "optimized")),
        team=team,
        agent=None if team else chooser.choice((None, "dev")),
        route=RouteRequest(model=chooser.choice((None, "small"))),
        metadata=metadata if chooser.random() < 0.6 else {},
    )
    return Job(
        spec=spec,
        status=JobStatus.QUEUED,
        cursor=1,
        question=Question(chooser.choice(QUESTIONS)),
    )


def ended(job, chooser):
    report = AgentReport(
        name=chooser.choice(("dev", "sage")),
        status="completed",
        tier="quick",
        model=chooser.choice(("small", "large")),
        reason="it suits",
    )
    said = Answer(text="words", finish_reason="stop", agents=(report.name,))
    return Job(
        spec=job.spec,
        status=chooser.choice(ENDED),
        attempt=1,
        cursor=9,
        finished_ms=job.spec.created_ms + 5,
        question=job.question,
        outcome=Outcome(answer=said, agents=(report,)),
    )


@pytest.fixture(scope="module")
def many(mongo_client):
    """A user with 300 jobs, a tenth of them unfinished, beside another's."""
    chooser = random.Random(7)
    database = mongo_client["test_job_search"]
    ensure_indexes(database)
    records = JobRecords(database, insert_s=10)
    jobs = [some_job(chooser, number) for number in range(300)]
    for job in jobs:
        records.insert(job)
    unfinished, others = jobs[:30], [ended(job, chooser) for job in jobs[30:]]
    records.write_finished(others)
    running = [
        Job(spec=job.spec, status=JobStatus.IN_PROGRESS, attempt=1, cursor=3)
        for job in unfinished[:20]
    ]
    just_ended = [ended(job, chooser) for job in unfinished[20:25]]
    stands = {job.id: job for job in (*unfinished, *others)}
    for job in (*running, *just_ended):
        stands[job.id] = Job(
            spec=job.spec,
            status=job.status,
            attempt=job.attempt,
            cursor=job.cursor,
            finished_ms=job.finished_ms,
            outcome=job.outcome,
            question=stands[job.id].question,
        )
    yield SimpleNamespace(
        search=JobSearch(database, Live((*running, *just_ended))),
        jobs=stands.values(),
        live=(*running, *just_ended),
        as_recorded={job.id: job for job in unfinished},
    )
    mongo_client.drop_database(database.name)


def pages(many, wanted, limit):
    before, found = None, []
    while True:
        page = many.search.page(USER, wanted, limit=limit, before=before)
        assert len(page.jobs) <= limit
        found += page.jobs
        if page.next_key is None:
            return found
        before = page.next_key


def expected(many, wanted):
    """Return the ids of what matches as it stands, in order.

    By how it ended, by its agents and models a job is found once its end is on record.
    """
    unrecorded = {job.id for job in many.live if job.is_terminal}
    waits = (wanted.status is not None and not wanted.is_live) or bool(wanted.tags)
    matching = [job for job in many.jobs if wanted.matches(job)]
    if waits and not wanted.is_live:
        matching = [
            job
            for job in matching
            if job.id not in unrecorded
            or (wanted.status is None and wanted.matches(many.as_recorded[job.id]))
        ]
    matching.sort(key=lambda job: (job.spec.created_ms, job.id), reverse=True)
    return [job.id for job in matching]


@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize("wanted", FILTERS, ids=lambda wanted: wanted.digest or "all")
def test_every_job_that_matches_is_listed_once_in_order(many, wanted, limit):
    assert [job.id for job in pages(many, wanted, limit)] == expected(many, wanted)


@pytest.mark.parametrize("limit", [3, 50])
def test_a_page_ends_when_it_has_looked_at_enough(many, monkeypatch, limit):
    wanted = JobFilter(words=words_of("fuchs"))
    whole = [job.id for job in pages(many, wanted, 100)]
    monkeypatch.setattr(job_search, "MOST_LOOKED_AT", 10)

    assert [job.id for job in pages(many, wanted, limit)] == whole
    first = many.search.page(USER, JobFilter(words=("zzz",)), limit=5)
    assert (first.jobs, first.next_key is None) == ([], False)


def test_another_users_jobs_are_not_found(many):
    page = many.search.page(new_user_id(), JobFilter(), limit=10)

    assert (page.jobs, page.next_key) == ([], None)
