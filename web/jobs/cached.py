"""Answering a request at submit, with an answer that was given before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from cache.replay import events_of, outcome_of
from core import events
from core.events import NewEvent
from core.jobs import Job, JobSpec, JobStatus
from storage.jobs.script_values import terminal_data

if TYPE_CHECKING:
    from cache.response_cache import Hit
    from storage.jobs.store import IdempotencyClaim
    from web.services import WebServices


def find_answer(services: WebServices, spec: JobSpec) -> Hit | None:
    """Return a kept answer that may serve; within a conversation only its worker can tell.

    One that is to be made anew is forgotten here at once, so that who asked for that sees it.
    """
    if spec.cache.mode == "bypass" or spec.conversation_id is not None:
        return None
    name = services.fingerprints.of(spec)
    if spec.cache.mode == "refresh":
        services.cache.forget(name)
        return None
    return services.cache.look(name, spec.cache)


def accept_answered(
    services: WebServices, spec: JobSpec, hit: Hit, idempotency: IdempotencyClaim | None
) -> tuple[str, Job]:
    """Take the job in as one that has completed, and return the id that it is known by.

    The id is another job's when the Idempotency-Key had brought that one. The job is as durable as
    any that has ended: it reaches MongoDB by the stream of records.
    """
    finished_ms = int(time.time() * 1000)
    took_ms = max(0, finished_ms - spec.created_ms)
    outcome = outcome_of(hit, _timing(took_ms))
    told = [
        NewEvent(events.JOB_QUEUED, {"mode": spec.mode}),
        *events_of(hit),
        NewEvent(events.JOB_COMPLETED, terminal_data(JobStatus.COMPLETED, outcome)),
    ]
    job = Job(
        spec=msgspec.structs.replace(spec, reserved_micros=0),
        status=JobStatus.COMPLETED,
        cursor=len(told),
        started_ms=spec.created_ms,
        finished_ms=finished_ms,
        outcome=outcome,
    )
    return services.job_store.accept_answered(job, told, idempotency), job


def _timing(took_ms: int) -> dict[str, int | None]:
    parts = dict.fromkeys(("queue", "route", "cache", "model", "synthesis", "persist"), 0)
    return {"accept": took_ms, **parts, "first_token": None, "total": took_ms}
