"""Looking at jobs: one, many, as they go, and asking for their end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from msgspec import structs

from core.errors import InvalidRequest, JobNotFound
from core.ids import is_job_id
from core.jobs import Job
from core.public import to_public
from web.accounts.auth import current_user, require_user
from web.jobs.schemas import JobListQuery, JobPath, JobQuery
from web.jobs.stream import event_stream, is_wanted
from web.services import current_services

if TYPE_CHECKING:
    from storage.accounts.users import User
    from web.services import WebServices

jobs_api = APIBlueprint("jobs", __name__, url_prefix="/api/ai/v4/jobs", abp_tags=[Tag(name="jobs")])
jobs_api.before_request(require_user)

#: Events that one poll returns at most; the next poll goes on from its last.
_EVENTS_PER_POLL: Final = 1_000


def find_job(services: WebServices, user: User, job_id: str) -> Job:
    """Return the user's job, live or recorded.

    Raises:
        JobNotFound: there is none, it is another user's, or the id is malformed: all look alike.
    """
    if not is_job_id(job_id):
        raise JobNotFound
    job = services.job_store.get(job_id) or services.job_records.get(job_id, user.id)
    if job is None or job.spec.user_id != user.id:
        raise JobNotFound
    return job


def wait_for_end(services: WebServices, job: Job, wait_s: float) -> Job:
    """Return the job as it is at its end or after `wait_s`, whichever comes first."""
    if job.is_terminal or wait_s <= 0:
        return job
    give_up_at = time.monotonic() + wait_s
    for _ in services.feed.follow(job.id, after=job.cursor, heartbeat_s=min(wait_s, 1.0)):
        if time.monotonic() >= give_up_at:
            break
    return _latest(services, job)


def _latest(services: WebServices, job: Job) -> Job:
    """Return the job as it stands now, with its question if that was loaded."""
    latest = services.job_store.get(job.id)
    return job if latest is None else structs.replace(latest, question=job.question)


def _with_question(services: WebServices, job: Job) -> Job:
    return structs.replace(job, question=job.question or services.job_store.question(job.id))


@jobs_api.get("/<string:job_id>")
def get_job(path: JobPath, query: JobQuery) -> Any:
    """One job; `after` adds the events above that number, `wait` waits for news of it.

    `next_after` is where the next poll goes on, whichever types it asks for. The request's message
    comes without `after` only.
    """
    services, user = current_services(), current_user()
    job = find_job(services, user, path.job_id)
    if query.after is None:
        job = _with_question(services, job)
        return to_public(wait_for_end(services, job, query.wait))
    if query.after > job.cursor:
        raise InvalidRequest(f"The job has only {job.cursor} events so far.", field="after")
    if query.after == job.cursor:
        job = _wait_for_news(services, job, query.wait)
    events = services.event_log.read(job.id, after=query.after, limit=_EVENTS_PER_POLL)
    return to_public(job) | {
        "events": [msgspec.Raw(event.body) for event in events if is_wanted(event, query.types)],
        "next_after": events[-1].sequence if events else query.after,
    }


def _wait_for_news(services: WebServices, job: Job, wait_s: float) -> Job:
    if job.is_terminal or wait_s <= 0:
        return job
    next(services.feed.follow(job.id, after=job.cursor, heartbeat_s=wait_s), None)
    return _latest(services, job)


@jobs_api.get("")
def list_jobs(query: JobListQuery) -> Any:
    """The user's jobs, newest first; `next_cursor` leads to the following page."""
    services, user = current_services(), current_user()
    recorded = services.job_records.list_of_user(
        user.id, limit=query.limit, before=_read_cursor(query.cursor), status=query.status
    )
    live = services.job_store.get_many([job.id for job in recorded if not job.is_terminal])
    fresh = {job.id: job for job in live if job is not None}
    jobs = [structs.replace(fresh.get(job.id, job), question=job.question) for job in recorded]
    return {
        "object": "list",
        "data": [to_public(job) for job in jobs],
        "next_cursor": _to_cursor(recorded[-1]) if len(recorded) == query.limit else None,
    }


@jobs_api.delete("/<string:job_id>")
def cancel_job(path: JobPath) -> Any:
    """Ask for the job's end: 200 when it has ended by that, 202 while its worker is on it."""
    services, user = current_services(), current_user()
    job = find_job(services, user, path.job_id)
    services.cancellation.cancel(job)
    job = _latest(services, _with_question(services, job))
    return to_public(job), 200 if job.is_terminal else 202


@jobs_api.get("/<string:job_id>/events")
def stream_job(path: JobPath, query: JobQuery) -> Response:
    """The job's events as server-sent events, from `after` or `Last-Event-ID` on."""
    services, user = current_services(), current_user()
    job = find_job(services, user, path.job_id)
    return event_stream(services, job, after=_start_of(query), types=query.types)


def _start_of(query: JobQuery) -> int:
    last_seen = request.headers.get("Last-Event-ID", "")
    if query.after is not None or not last_seen:
        return query.after or 0
    if not (last_seen.isascii() and last_seen.isdigit()) or len(last_seen) > 12:
        raise InvalidRequest("It has to be the number of an event.", field="Last-Event-ID")
    return int(last_seen)


def _to_cursor(job: Job) -> str:
    return f"{job.spec.created_ms}.{job.id}"


def _read_cursor(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    created_ms, _, job_id = cursor.partition(".")
    if not (created_ms.isascii() and created_ms.isdigit() and len(created_ms) <= 15) or not (
        is_job_id(job_id)
    ):
        raise InvalidRequest("It is not a cursor of this list.", field="cursor")
    return int(created_ms), job_id
