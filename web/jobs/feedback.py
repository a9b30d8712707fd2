"""The routes by which users say what they think of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import StringConstraints

from core.errors import (
    CoordinatorUnavailable,
    JobNotFinished,
    JobNotFound,
    StoreUnavailable,
)
from core.jobs import Feedback, Rating
from core.public import public_feedback
from core.timing import now_ms
from monitoring import families
from storage.records.usage import day_of
from web.accounts.auth import current_user, require_user
from web.http.openapi import returns, routes
from web.http.schemas import RequestBody
from web.jobs.jobs import find_job
from web.jobs.response_schemas import Feedback as FeedbackSchema
from web.jobs.schemas import JobPath
from web.services import current_services

if TYPE_CHECKING:
    from core.jobs import Job

feedback_api = routes(
    "feedback", __name__, "What users say of their jobs.", prefix="/api/ai/v4/jobs"
)
feedback_api.before_request(require_user)


class FeedbackRequest(RequestBody):
    """What you think of the answer."""

    rating: Rating
    comment: Annotated[str, StringConstraints(max_length=2_000)] | None = None


@feedback_api.post(
    "/<string:job_id>/feedback",
    **returns(
        {200: (FeedbackSchema, "The feedback, in place of an earlier one.")},
        JobNotFound,
        JobNotFinished,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def rate_job(path: JobPath, body: FeedbackRequest) -> Any:
    """Say whether the answer of an ended job was good, and why; the latest feedback counts."""
    job = _ended_job(path.job_id)
    feedback = Feedback(rating=body.rating, comment=body.comment, at_ms=now_ms())
    services = current_services()
    services.feedback.set(current_user().id, job.id, feedback)
    services.live_feedback.show(job.id, feedback)
    services.usage.mark([day_of(job)])
    services.metrics.count(families.FEEDBACK, feedback.rating)
    return public_feedback(feedback)


@feedback_api.delete(
    "/<string:job_id>/feedback",
    **returns(
        {204: (None, "The job has no feedback.")},
        JobNotFound,
        StoreUnavailable,
        CoordinatorUnavailable,
    ),
)
def unrate_job(path: JobPath) -> Any:
    """Take the feedback back; a repeat does nothing."""
    job, services = find_job(path.job_id), current_services()
    services.feedback.remove(current_user().id, job.id)
    services.live_feedback.show(job.id, None)
    return "", 204


def _ended_job(job_id: str) -> Job:
    job = find_job(job_id)
    if not job.is_terminal:
        raise JobNotFinished
    return job
