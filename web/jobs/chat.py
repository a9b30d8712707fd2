"""Submitting chat jobs."""

from __future__ import annotations

import re
from typing import Any, Final

from flask import Response, g, jsonify

from core.account_errors import TooManyAgents, TrialEnded
from core.conversation_errors import (
    ConversationBusy,
    ParentInOtherConversation,
    UnknownParent,
)
from core.errors import (
    CoordinatorFull,
    CostLimitTooLow,
    Draining,
    ExpiresBeforeRun,
    ExpiryInPast,
    IdempotencyConflict,
    InvalidConcurrency,
    InvalidPriority,
    InvalidTime,
    ServiceUnavailable,
    TierNotInPlan,
    TooManyWaiting,
    UnknownAgent,
    UnknownModel,
)
from core.jobs import NO_PLACE, Job, Mode
from core.limit_errors import (
    BudgetBusy,
    BudgetExhausted,
    RateLimitExceeded,
    TooManyJobs,
    TooManyStreams,
)
from core.public import to_public
from core.webhook_errors import WEBHOOK_ERRORS
from web.accounts.auth import current_key, current_user, require_user
from web.http.context import read_headers
from web.http.limits import add_limits
from web.http.openapi import returns, routes
from web.jobs.event_schemas import Event
from web.jobs.jobs import wait_for_end
from web.jobs.response_schemas import Job as JobSchema
from web.jobs.schemas import ChatRequest, SubmitHeaders, TeamChatRequest, WaitHeaders
from web.jobs.stream import MEDIA_TYPE, event_stream
from web.jobs.submission import Submitted, submit
from web.services import WebServices, current_services

chat_api = routes(
    "chat", __name__, "Submit a question; the response is a job.", prefix="/api/ai/v4/chat"
)
chat_api.before_request(require_user)

#: How long a quick request waits for its answer when it does not say, in seconds.
_QUICK_WAIT_S: Final = 10.0
_MAX_WAIT_S: Final = 60.0
_WAIT_PREFERENCE = re.compile(
    r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,4})\"?\s*(?=$|[,;])", re.IGNORECASE
)
_ERRORS: Final = (
    UnknownAgent,
    InvalidPriority,
    InvalidConcurrency,
    UnknownParent,
    ParentInOtherConversation,
    ConversationBusy,
    InvalidTime,
    ExpiryInPast,
    ExpiresBeforeRun,
    *WEBHOOK_ERRORS,
    IdempotencyConflict,
    TrialEnded,
    TooManyJobs,
    RateLimitExceeded,
    BudgetBusy,
    BudgetExhausted,
    ServiceUnavailable,
    CoordinatorFull,
    Draining,
)
_ROUTE_ERRORS: Final = (UnknownModel, CostLimitTooLow, TierNotInPlan)
#: What any submit may be refused with.
SUBMIT_ERRORS: Final = (*_ERRORS, *_ROUTE_ERRORS, TooManyAgents)
_LOCATION: Final = {
    "Location": "The path of the job.",
    "RateLimit": "What is left of each limit: `r`.",
    "RateLimit-Policy": "Each limit `q` and its window `w` in seconds.",
}
HEADERS: Final = _LOCATION | {
    "Preference-Applied": "The wait that was granted, where the request has `Prefer`.",
    "Idempotency-Replayed": "`true` where an earlier request with this key made the job.",
}
_STATUSES: Final = {
    200: (JobSchema, "The job has ended."),
    202: (JobSchema, "The job is accepted and durable; it goes on."),
}


@chat_api.post(
    "/optimized",
    **returns(_STATUSES, *_ERRORS, *_ROUTE_ERRORS, accepts=WaitHeaders, headers=HEADERS),
)
def optimized(body: ChatRequest) -> Any:
    """Ask the agent that suits the question best, or the one that is named."""
    return _answer(body, "optimized", default_wait_s=0.0)


@chat_api.post(
    "/quick", **returns(_STATUSES, *_ERRORS, *_ROUTE_ERRORS, accepts=WaitHeaders, headers=HEADERS)
)
def quick(body: ChatRequest) -> Any:
    """Ask one agent on the quick tier; waits up to 10 s unless `Prefer: wait=S` says otherwise."""
    return _answer(body, "quick", default_wait_s=_QUICK_WAIT_S)


@chat_api.post(
    "/multi-agent",
    **returns(_STATUSES, *_ERRORS, TooManyAgents, accepts=WaitHeaders, headers=HEADERS),
)
def multi_agent(body: TeamChatRequest) -> Any:
    """Ask several agents at once and make one answer of their replies."""
    return _answer(body, "multi_agent", default_wait_s=0.0)


@chat_api.post(
    "/stream",
    **returns(
        {200: (Event, "The job's events up to its end, as server-sent events.")},
        *_ERRORS,
        *_ROUTE_ERRORS,
        TooManyStreams,
        TooManyWaiting,
        accepts=SubmitHeaders,
        headers=_LOCATION,
        media_type=MEDIA_TYPE,
    ),
)
def stream(body: ChatRequest) -> Response:
    """Ask one agent and read the job's events in the response.

    When the connection breaks, `GET` the path in `Location` with `/events` appended.
    """
    services = current_services()
    leave = services.open_requests.enter(current_user().id)
    try:
        submitted = submit_request(read_headers(SubmitHeaders), body, "stream")
    except BaseException:
        leave()
        raise
    response = event_stream(services, submitted.job, after=0, leave=leave)
    response.headers["Location"] = to_public(submitted.job)["links"]["self"]
    add_limits(response, submitted.windows)
    return response


def _answer(
    body: ChatRequest | TeamChatRequest,
    mode: Mode,
    *,
    default_wait_s: float,
) -> Any:
    header = read_headers(WaitHeaders)
    wait_s = _preferred_wait_s(header.prefer, default_wait_s)
    submitted = submit_request(header, body, mode)
    services = current_services()
    job, has_waited = _await(services, submitted.job, wait_s)
    public = to_public(job, submitted.place if job is submitted.job else NO_PLACE)
    response = jsonify(public)
    response.status_code = 200 if job.is_terminal else 202
    response.headers["Location"] = public["links"]["self"]
    add_limits(response, submitted.windows)
    if header.prefer is not None and wait_s and has_waited:
        response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
    if submitted.is_repeat:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _await(services: WebServices, job: Job, wait_s: float) -> tuple[Job, bool]:
    """Return the job at its end or after `wait_s`; at once, with False, where too much is open."""
    try:
        return wait_for_end(services, job, wait_s), True
    except (TooManyStreams, TooManyWaiting):
        return job, False


def submit_request(
    header: SubmitHeaders,
    body: ChatRequest | TeamChatRequest,
    mode: Mode,
    *,
    retry_of: str | None = None,
) -> Submitted:
    """Submit what a request asks for its caller; raises as `submit`."""
    return submit(
        current_services(),
        current_user(),
        body,
        key=current_key(),
        mode=mode,
        idempotency_key=header.idempotency_key,
        request_id=g.request_id,
        retry_of=retry_of,
    )


def _preferred_wait_s(prefer: str | None, default_s: float) -> float:
    """Read `wait=S` (RFC 7240), at most 60 s; other preferences are ignored."""
    found = _WAIT_PREFERENCE.search(prefer or "")
    return min(float(found[1]), _MAX_WAIT_S) if found else default_s
