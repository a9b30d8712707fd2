"""Answering a request at submit, with an answer that was given before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from cache.replay import events_of, outcome_of
from core import events
from core.jobs import Job, JobSpec, JobStatus, Question

if TYPE_CHECKING:
    from cache.response_cache import Hit
    from storage.jobs.store import IdempotencyClaim
    from web.services import WebServices


def find_answer(services: WebServices, spec: JobSpec, question: Question) -> Hit | None:
    """Return a kept answer that may serve; within a conversation only its worker can tell.

    One that is to be made anew is forgotten here at once, so that who asked for that sees it.
    """
    if spec.cache.mode == "bypass" or spec.conversation_id is not None:
        return None
    name = services.fingerprints.of(spec, question)
    if spec.cache.mode == "refresh":
        services.cache.forget(name)
        return None
    return services.cache.look(name, spec.cache)


def accept_answered(
    services: WebServices,
    spec: JobSpec,
    question: Question,
    hit: Hit,
    idempotency: IdempotencyClaim | None,
) -> tuple[str, Job]:
    """Take the job in as one that has completed, and return the id that it is known by.

    The id is another job's when the Idempotency-Key had brought that one. The job is as durable as
    any that has ended: it reaches MongoDB by the stream of records.
    """
    finished_ms = int(time.time() * 1000)
    took_ms = max(0, finished_ms - spec.created_ms)
    outcome = outcome_of(hit, _timing(took_ms))
    log = [
        events.job_queued(spec.mode),
        *events_of(hit),
        events.job_ended(events.JOB_COMPLETED, JobStatus.COMPLETED.value, outcome),
    ]
    job = Job(
        spec=msgspec.structs.replace(spec, reserved_micros=0),
        status=JobStatus.COMPLETED,
        cursor=len(log),
        started_ms=spec.created_ms,
        finished_ms=finished_ms,
        outcome=outcome,
        question=question,
    )
    return services.job_store.accept_answered(job, log, idempotency), job


def _timing(took_ms: int) -> dict[str, int | None]:
    parts = dict.fromkeys(("queue", "route", "cache", "model", "synthesis", "persist"), 0)
    return {"accept": took_ms, **parts, "first_token": None, "total": took_ms}
