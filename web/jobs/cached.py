"""Jobs that a kept answer completes at submit, without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from core import events
from core.jobs import Job, JobSpec, JobStatus, Question
from core.timing import TimeAccount, now_ms

if TYPE_CHECKING:
    from cache.entry import Hit
    from storage.jobs.acceptance import Accepted, Applicant, IdempotencyClaim
    from web.services import WebServices


def find_answer(services: WebServices, spec: JobSpec, question: Question) -> Hit | None:
    """Return a kept answer for the request, if there is one that may be used.

    A request within a conversation finds none here: its fingerprint covers the history, which its
    worker reads.
    """
    if spec.cache.mode == "bypass" or spec.conversation_id is not None:
        return None
    fingerprint = services.fingerprints.of(spec, question)
    if not fingerprint:
        return None
    if spec.cache.mode == "refresh":
        # The client that refreshes may repeat the request before the other processes know.
        services.cache.drop_local(fingerprint)
        return None
    return services.cache.get(fingerprint, spec.cache)


def accept_answered(
    services: WebServices,
    spec: JobSpec,
    question: Question,
    hit: Hit,
    who: Applicant,
    idempotency: IdempotencyClaim | None,
) -> tuple[Accepted, Job]:
    """Accept the job as completed by the hit; return the id it is known by, and the job.

    The id is another job's when an earlier request used the Idempotency-Key. The job is as durable
    as any that has ended: it reaches MongoDB by the stream of records.
    """
    finished_ms = now_ms()
    timing_ms = TimeAccount(spec.created_ms).close(rest="accept", at_ms=finished_ms)
    outcome = hit.to_outcome(timing_ms)
    log = [
        events.job_queued(spec.mode),
        *hit.to_events(),
        events.job_ended(events.JOB_COMPLETED, JobStatus.COMPLETED.value, outcome),
    ]
    job = Job(
        spec=msgspec.structs.replace(spec, reserved_micros=0, least_micros=0),
        status=JobStatus.COMPLETED,
        cursor=len(log),
        started_ms=spec.created_ms,
        finished_ms=finished_ms,
        outcome=outcome,
        question=question,
    )
    accepted = services.acceptance.accept_answered(
        job, log, who.plan, idempotency, key_limits=who.key_limits
    )
    return accepted, job
