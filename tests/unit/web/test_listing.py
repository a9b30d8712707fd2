"""Lists of jobs by where they stand now."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.errors import InvalidRequest
from core.ids import new_job_id, new_user_id
from core.jobs import Job, JobStatus
from tests.jobs import QUESTION, make_spec
from web.jobs.jobs import _read_cursor
from web.jobs.listing import page_of_jobs

USER = new_user_id()


class Records:
    """Records of one user, newest first; unfinished jobs are queued there."""

    def __init__(self, jobs):
        self.jobs = jobs

    def list_of_user(self, user_id, *, limit, before, status):
        later = [job for job in self.jobs if before is None or job.spec.created_ms < before[0]]
        return [job for job in later if status in (None, job.status)][:limit]


class Store:
    """Redis, where every second unfinished job is running."""

    def __init__(self, jobs):
        self.jobs = {job.id: job for job in jobs}

    def get_many(self, job_ids):
        return [self.jobs.get(job_id) for job_id in job_ids]


def listed(**query):
    recorded = [
        Job(
            spec=make_spec(user_id=USER, created_ms=100 - number),
            status=JobStatus.QUEUED if number < 10 else JobStatus.COMPLETED,
            question=QUESTION,
        )
        for number in range(15)
    ]
    live = [replace(job, status=JobStatus.IN_PROGRESS) for job in recorded[1:10:2]]
    pages, before = [], None
    while page := page_of_jobs(Records(recorded), Store(live), USER, before=before, **query):
        pages += [page]
        before = page[-1].spec.created_ms, page[-1].id
    return [100 - job.spec.created_ms for page in pages for job in page]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("status", "found"),
    [
        (JobStatus.IN_PROGRESS, [1, 3, 5, 7, 9]),
        (JobStatus.QUEUED, [0, 2, 4, 6, 8]),
        (JobStatus.COMPLETED, [10, 11, 12, 13, 14]),
        (JobStatus.FAILED, []),
        (None, list(range(15))),
    ],
)
def test_jobs_are_listed_once_where_they_stand_now(limit, status, found):
    assert listed(limit=limit, status=status) == found


@pytest.mark.parametrize("time", ["253402300800000", "999999999999999", "-1", "1e3", "٣", ""])
def test_cursor_is_refused_when_its_time_is_none(time):
    with pytest.raises(InvalidRequest, match="`cursor` must be"):
        _read_cursor(f"{time}.{new_job_id(USER)}")
