"""The routes about existing jobs: read one or many, follow their events, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from flask import Response
from msgspec import structs

from core.errors import (
    CursorOfOtherFilter,
    InvalidRequest,
    JobAlreadyFinished,
    JobNotFound,
    TooManyWaiting,
)
from core.events import Event as LoggedEvent
from core.ids import is_job_id
from core.jobs import Job, Question
from core.limit_errors import TooManyStreams
from core.public import to_public
from web.accounts.auth import current_user, require_user
from web.http.context import read_headers
from web.http.cursors import read_cursor, to_cursor
from web.http.openapi import returns, routes
from web.jobs.event_schemas import Event, JobOrPoll
from web.jobs.filter_schemas import JobListQuery
from web.jobs.response_schemas import Job as JobSchema
from web.jobs.response_schemas import JobList
from web.jobs.schemas import JobPath, JobQuery, StreamHeaders
from web.jobs.stream import MEDIA_TYPE, event_stream, is_wanted
from web.services import current_services

if TYPE_CHECKING:
    from core.job_filter import JobFilter
    from storage.jobs.store import JobStore
    from web.services import WebServices

jobs_api = routes(
    "jobs", __name__, "Read jobs, follow their events, cancel them.", prefix="/api/ai/v4/jobs"
)
jobs_api.before_request(require_user)

#: Events that one poll returns at most; the next poll goes on from its last.
_EVENTS_PER_POLL: Final = 1_000


def wait_for_end(services: WebServices, job: Job, wait_s: float) -> Job:
    """Return the job as it is at its end or after `wait_s`, whichever comes first.

    Raises:
        TooManyStreams, TooManyWaiting: too much is open already.
    """
    if job.is_terminal or wait_s <= 0:
        return job
    store = services.job_store
    with services.open_requests.held(job.spec.user_id):
        services.feed.wait_for_end(job.id, lambda: store.has_ended(job.id), wait_s)
    return _latest(store, job)


@jobs_api.get(
    "/<string:job_id>",
    **returns(
        {200: (JobOrPoll, "The job; with its events where the request has `after`.")},
        JobNotFound,
        TooManyStreams,
        TooManyWaiting,
    ),
)
def get_job(path: JobPath, query: JobQuery) -> Any:
    """Return one job; `after` adds its later events, `wait` waits for news.

    `next_after` is what the next poll sends as `after`, whichever types this one asks for. With
    `after` the request's message is null.
    """
    services, job = current_services(), find_job(path.job_id)
    if query.after is None:
        job = _with_question(services.job_store, job)
        job = wait_for_end(services, job, query.wait)
        return to_public(job, services.queue.place_of(job))
    if query.after > job.cursor:
        raise InvalidRequest(
            f"`after` must be at most {job.cursor}, the number of the job's latest event.",
            field="after",
        )
    if query.after == job.cursor:
        job = _wait_for_news(services, job, query.wait)
    events = _events_after(services, job, query.after)
    job = structs.replace(job, question=Question(""))
    return to_public(job, services.queue.place_of(job)) | {
        "events": [msgspec.Raw(event.body) for event in events if is_wanted(event, query.types)],
        "next_after": events[-1].sequence if events else query.after,
    }


@jobs_api.get("", **returns({200: (JobList, "One page of the user's jobs.")}, CursorOfOtherFilter))
def list_jobs(query: JobListQuery) -> Any:
    """Return the user's jobs that match, newest first; `next_cursor` leads to the next page.

    A page may have fewer jobs than `limit`, and even none, and a next page: it ends after it has
    looked at 4,000 jobs.
    """
    wanted = query.to_filter()
    page = current_services().job_search.page(
        current_user().id,
        wanted,
        limit=query.limit,
        before=_read_cursor(query.cursor, wanted),
    )
    return {
        "object": "list",
        "data": [to_public(job) for job in page.jobs],
        "next_cursor": None if page.next_key is None else _to_cursor(page.next_key, wanted),
    }


@jobs_api.delete(
    "/<string:job_id>",
    **returns(
        {
            200: (JobSchema, "The job has ended as cancelled."),
            202: (JobSchema, "A worker has the job and is stopping it."),
        },
        JobNotFound,
        JobAlreadyFinished,
    ),
)
def cancel_job(path: JobPath) -> Any:
    """Cancel a job; what it has used by then is paid."""
    services, job = current_services(), find_job(path.job_id)
    services.cancellation.cancel(job)
    job = _latest(services.job_store, _with_question(services.job_store, job))
    return to_public(job), 200 if job.is_terminal else 202


@jobs_api.get(
    "/<string:job_id>/events",
    **returns(
        {
            200: (Event, "The events up to the job's end, as server-sent events."),
            204: (None, "The job has ended, and the client has its last event."),
        },
        JobNotFound,
        TooManyStreams,
        TooManyWaiting,
        accepts=StreamHeaders,
        media_type=MEDIA_TYPE,
    ),
)
def stream_job(path: JobPath, query: JobQuery) -> Response:
    """Stream a job's events, those after `after` or `Last-Event-ID` and then live ones.

    `id:` is the event's number, `event:` its type, `data:` the event as JSON. A comment comes every
    10 s when nothing happens. A stream ends after the terminal event, or without one after 10 min
    and when the server stops: connect again, `Last-Event-ID` goes on without a gap.
    """
    header, job = read_headers(StreamHeaders), find_job(path.job_id)
    after = max(query.after or 0, header.last_event_id or 0)
    return event_stream(current_services(), job, after=after, types=query.types)


def find_job(job_id: str) -> Job:
    """Return the user's job, live or recorded.

    Raises:
        JobNotFound: no such job, another user's, or a malformed id; the response is the same.
    """
    services, user = current_services(), current_user()
    if not is_job_id(job_id):
        raise JobNotFound
    job = services.job_store.get(job_id) or services.job_records.get(job_id, user.id)
    if job is None or job.spec.user_id != user.id:
        raise JobNotFound
    return job


def _wait_for_news(services: WebServices, job: Job, wait_s: float) -> Job:
    if job.is_terminal or wait_s <= 0:
        return job
    with services.open_requests.held(job.spec.user_id):
        next(services.feed.follow(job.id, after=job.cursor, heartbeat_s=wait_s), None)
    return _latest(services.job_store, job)


def _events_after(services: WebServices, job: Job, after: int) -> list[LoggedEvent]:
    """Return the next events, of an ended job that Redis has let go those on record."""
    events = services.event_log.read(job.id, after=after, limit=_EVENTS_PER_POLL)
    if events or not job.is_terminal or after == job.cursor:
        return events
    return services.job_logs.after(job, after)[:_EVENTS_PER_POLL]


def _latest(store: JobStore, job: Job) -> Job:
    """Return the job as it stands now, with its question if that was loaded."""
    latest = store.get(job.id)
    return job if latest is None else structs.replace(latest, question=job.question)


def _with_question(store: JobStore, job: Job) -> Job:
    return structs.replace(job, question=job.question or store.question(job.id))


def _to_cursor(key: tuple[int, str], wanted: JobFilter) -> str:
    """Return the cursor behind a job; it names the filter that it belongs to."""
    return to_cursor(*key) + (f".{wanted.digest}" if wanted.digest else "")


def _read_cursor(cursor: str | None, wanted: JobFilter) -> tuple[int, str] | None:
    """Return the key behind which the page goes on.

    Raises:
        InvalidRequest: no page of a list gave this cursor.
        CursorOfOtherFilter: one with another filter did.
    """
    if cursor is None:
        return None
    plain, digest = cursor, ""
    if cursor.count(".") == 2:
        plain, _, digest = cursor.rpartition(".")
    key = read_cursor(plain)
    if digest != wanted.digest:
        raise CursorOfOtherFilter(field="cursor")
    return key
