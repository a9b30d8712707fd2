"""What every surface shows: absent parts are null, money in dollars, times in ISO 8601."""

from __future__ import annotations

from typing import Any, Final

from core.conversations import Conversation
from core.jobs import NO_PLACE, Feedback, Job, JobSpec, Place, RouteRequest
from core.money import to_usd
from core.outcome import AgentReport, Outcome, public_usage
from core.timing import iso_time

#: Where jobs are found.
JOBS_PATH: Final = "/api/ai/v4/jobs"
ACTIONS_PATH: Final = "/api/ai/v4/actions"
CONVERSATIONS_PATH: Final = "/api/ai/v4/conversations"


def to_public(job: Job, place: Place = NO_PLACE) -> dict[str, Any]:
    """Return the job's public form, ready for JSON; the message is null where it was not loaded.

    Args:
        place: where it stands, of a job that waits.
    """
    spec, outcome = job.spec, job.outcome or Outcome()
    return {
        "id": job.id,
        "object": "job",
        "status": job.status.value,
        "mode": spec.mode,
        "created_at": iso_time(spec.created_ms),
        "started_at": iso_time(job.started_ms),
        "finished_at": iso_time(job.finished_ms),
        "cursor": job.cursor,
        "attempt": job.attempt,
        "conversation_id": spec.conversation_id,
        "parent_id": spec.parent_id,
        "history": _public_history(spec, outcome),
        "retry_of": spec.retry_of,
        "title_of": spec.title_of,
        "webhook": spec.webhook,
        "metadata": spec.metadata,
        "degraded": outcome.degraded,
        "request": _public_request(job),
        "schedule": _public_schedule(spec),
        "answer": None if job.content_removed_ms else outcome.answer,
        "agents": [_public_report(report) for report in outcome.agents],
        "synthesis": _public_report(outcome.synthesis) if outcome.synthesis else None,
        "usage": public_usage(outcome.usage),
        "cost": _public_cost(spec, outcome),
        "route": outcome.route,
        "cache": {
            "status": outcome.cache.status,
            "layer": outcome.cache.layer,
            "age_s": outcome.cache.age_s,
        },
        "timing_ms": outcome.timing_ms or None,
        "queue": place,
        "error": outcome.error,
        "feedback": public_feedback(job.feedback) if job.feedback else None,
        "content_removed_at": iso_time(job.content_removed_ms),
        "links": _links(f"{JOBS_PATH}/{job.id}"),
    }


def _links(itself: str) -> dict[str, str]:
    return {
        "self": itself,
        "events": f"{itself}/events",
        "cancel": itself,
        "retry": f"{itself}/retry",
        "feedback": f"{itself}/feedback",
    }


def public_conversation(conversation: Conversation) -> dict[str, Any]:
    """Return the conversation's public form, without its messages."""
    link = f"{CONVERSATIONS_PATH}/{conversation.id}"
    return {
        "id": conversation.id,
        "object": "conversation",
        "title": conversation.title,
        "titled_by": conversation.titled_by,
        "created_at": iso_time(conversation.created_ms),
        "updated_at": iso_time(conversation.updated_ms),
        "links": {"self": link, "messages": f"{link}/messages", "export": f"{link}/export"},
    }


def public_feedback(feedback: Feedback) -> dict[str, Any]:
    """Return what the user said of the job, as its surfaces show it."""
    return {
        "rating": feedback.rating,
        "comment": feedback.comment,
        "at": iso_time(feedback.at_ms),
    }


def _public_history(spec: JobSpec, outcome: Outcome) -> dict[str, int] | None:
    """Return how much of its branch was given to the agent that got least."""
    if not spec.turn or not outcome.agents:
        return None
    given = min(report.exchanges for report in outcome.agents)
    return {"given": given, "left_out": max(0, spec.turn - 1 - given)}


def _public_schedule(spec: JobSpec) -> dict[str, Any]:
    return {
        "priority": spec.priority,
        "run_at": iso_time(spec.run_at_ms),
        "expires_at": iso_time(spec.expires_at_ms),
        "concurrency_key": spec.concurrency_key,
        "concurrency_limit": spec.concurrency_limit,
    }


def _public_cost(spec: JobSpec, outcome: Outcome) -> dict[str, Any]:
    savings = outcome.savings
    return {
        "usd": to_usd(outcome.cost_micros),
        "reserved_usd": to_usd(spec.reserved_micros),
        "saved_usd": to_usd(savings.total_micros),
        "saved": {
            "routing_usd": to_usd(savings.routing_micros),
            "cache_usd": to_usd(savings.cache_micros),
            "prompt_cache_usd": to_usd(savings.prompt_cache_micros),
        },
    }


def _public_request(job: Job) -> dict[str, Any]:
    spec, message = job.spec, (job.question.message or None) if job.question else None
    asked = {"message": message, "agents": [spec.agent] if spec.agent else None}
    bounds = {"max_tokens": spec.max_tokens, "temperature": spec.temperature}
    if spec.team is None:
        return asked | bounds | _public_route_request(spec.route)
    team = {name: getattr(spec.team, name) for name in spec.team.__struct_fields__}
    return asked | bounds | team | {"agents": spec.team.agents or "auto"}


def _public_route_request(asked: RouteRequest) -> dict[str, Any]:
    most = asked.max_cost_micros
    return {
        "tier": asked.tier,
        "model": asked.model,
        "max_cost_usd": None if most is None else to_usd(most),
        "routing": "cascade" if asked.is_cascade else "auto",
    }


def _public_report(report: AgentReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "status": report.status,
        "tier": report.tier,
        "model": report.model,
        "reason": report.reason,
        "usage": public_usage(report.usage),
        "cost_usd": to_usd(report.cost_micros),
        "timing_ms": report.timing_ms,
        "error": report.error,
        "text": report.text,
        "rounds": report.rounds,
        "drafts": [
            {
                "model": draft.model,
                "usage": public_usage(draft.usage),
                "cost_usd": to_usd(draft.cost_micros),
            }
            for draft in report.drafts
        ],
    }
