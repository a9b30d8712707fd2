"""Ask again what an ended job has asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import jsonify

from core.errors import ContentGone, JobNotFinished, JobNotFound
from core.money import to_usd
from core.public import to_public
from web.accounts.auth import require_user
from web.http.context import read_headers
from web.http.limits import add_limits
from web.http.openapi import returns, routes
from web.jobs.chat import HEADERS, SUBMIT_ERRORS, submit_request
from web.jobs.jobs import find_job
from web.jobs.response_schemas import Job as JobSchema
from web.jobs.schemas import ChatRequest, JobPath, SubmitHeaders, TeamChatRequest
from web.jobs.turns import ROOT
from web.services import current_services

if TYPE_CHECKING:
    from core.jobs import Job, Question

retry_api = routes("retry", __name__, "Ask again.", prefix="/api/ai/v4/jobs")
retry_api.before_request(require_user)


@retry_api.post(
    "/<string:job_id>/retry",
    **returns(
        {202: (JobSchema, "The new job, accepted and durable.")},
        JobNotFound,
        JobNotFinished,
        ContentGone,
        *SUBMIT_ERRORS,
        accepts=SubmitHeaders,
        headers=HEADERS,
    ),
)
def retry_job(path: JobPath) -> Any:
    """Ask again what an ended job has asked, as a new job with the same options.

    Limits, plan and budgets are those of now. The answer of a job that completed is not used
    again. Within a conversation the new job stands beside the old one, as a branch.
    """
    job = find_job(path.job_id)
    if not job.is_terminal:
        raise JobNotFinished("The job has not ended; there is nothing to try again yet.")
    services = current_services()
    question = job.question or services.job_store.question(job.id)
    if question is None or not question.message or job.content_removed_ms:
        raise ContentGone
    submitted = submit_request(
        read_headers(SubmitHeaders), to_request(job, question), job.spec.mode, retry_of=job.id
    )
    public = to_public(submitted.job, submitted.place)
    response = jsonify(public)
    response.status_code = 202
    response.headers["Location"] = public["links"]["self"]
    add_limits(response, submitted.windows)
    if submitted.is_repeat:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def to_request(job: Job, question: Question) -> ChatRequest | TeamChatRequest:
    """Return the request that asks what the job has asked; its times are not asked for again."""
    spec, team = job.spec, job.spec.team
    common: dict[str, Any] = {
        "message": question.message,
        "conversation_id": spec.conversation_id,
        "parent_id": (spec.parent_id or ROOT) if spec.conversation_id else None,
        "max_tokens": spec.max_tokens,
        "temperature": spec.temperature,
        "cache": {
            "mode": "refresh" if spec.cache.mode == "use" else spec.cache.mode,
            "ttl_s": spec.cache.ttl_s,
            "max_age_s": spec.cache.max_age_s,
        },
        "priority": spec.priority,
        "concurrency_key": spec.concurrency_key,
        "concurrency_limit": spec.concurrency_limit,
        "webhook": spec.webhook,
        "metadata": spec.metadata,
    }
    if team is None:
        return ChatRequest.model_validate(common | _of_one(job))
    debate = {"rounds": team.rounds} if team.strategy == "debate" else {}
    of_team = {
        "agents": list(team.agents) if team.agents else "auto",
        "strategy": team.strategy,
        "quorum": team.quorum,
        "agent_deadline_s": team.agent_deadline_s,
        "synthesis": team.synthesis,
    }
    return TeamChatRequest.model_validate(common | of_team | debate)


def _of_one(job: Job) -> dict[str, Any]:
    spec, route = job.spec, job.spec.route
    is_free = spec.mode == "quick" or route.is_cascade
    return {
        "agent": spec.agent,
        "model": None if is_free else route.model,
        "tier": None if is_free or route.model else route.tier,
        "max_cost_usd": to_usd(route.max_cost_micros) if route.max_cost_micros else None,
        "routing": "cascade" if route.is_cascade else "auto",
    }
