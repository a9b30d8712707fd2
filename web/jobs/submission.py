"""Submit: the one way from a valid request to an accepted, durable and published job."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from core.budgets import Window
from core.errors import ServiceUnavailable, StoreUnavailable, SumsUnknown, UnknownAgent
from core.ids import new_job_id
from core.jobs import (
    NO_PLACE,
    Job,
    JobSpec,
    JobStatus,
    Mode,
    Place,
    Question,
    RouteRequest,
)
from core.personas import agent_names
from core.reservation import reserve
from core.timing import now_ms
from monitoring import families
from storage.jobs.acceptance import Accepted, Applicant, IdempotencyClaim
from web.jobs.admission import admit, applicant_of, ask_of
from web.jobs.cached import accept_answered, find_answer
from web.jobs.quote import settle_route
from web.jobs.schedule import schedule_of
from web.jobs.schemas import ChatRequest, TeamChatRequest
from web.jobs.turns import Turn, turn_of

if TYPE_CHECKING:
    from core.reservation import LessonOf
    from storage.accounts.api_keys import ApiKey
    from storage.accounts.users import User
    from web.services import WebServices

#: The most tokens of an answer when the request does not say.
DEFAULT_MAX_TOKENS: Final = 1024


#: How long a submit waits for its conversation's entry.
_NOTE_S: Final = 0.6


class Submitted(Struct, frozen=True):
    """A durable job, and where it stands as far as it waits.

    Attributes:
        is_repeat: an earlier request with its Idempotency-Key made it.
        windows: what its user may still submit.
    """

    job: Job
    is_repeat: bool
    place: Place = NO_PLACE
    windows: Sequence[Window] = ()


def submit(
    services: WebServices,
    user: User,
    request: ChatRequest | TeamChatRequest,
    *,
    key: ApiKey | None,
    mode: Mode,
    idempotency_key: str | None,
    request_id: str,
    retry_of: str | None = None,
) -> Submitted:
    """Accept the job, make it durable and publish it.

    Raises:
        TrialEnded: the account can only be read.
        UnknownAgent, UnknownModel, TierNotInPlan, CostLimitTooLow: the request cannot be met.
        ExpiryInPast, ExpiresBeforeRun, InvalidTime: its times cannot be met.
        InvalidWebhook, WebhookNotHttps, WebhookNotPublic: its webhook will not be called.
        UnknownParent, ParentInOtherConversation, ConversationBusy, InvalidConcurrency: it does not
            fit into its conversation.
        TooManyAgents: the plan does not allow so many.
        TooManyJobs, RateLimitExceeded, BudgetBusy, BudgetExhausted, IdempotencyConflict: nothing
            was stored.
        StoreUnavailable, CoordinatorUnavailable: the job is not accepted, or withdrawn.
    """
    applicant = applicant_of(services, user, key, request)
    idempotency = _to_claim(request, mode, idempotency_key)
    created_ms = now_ms()
    # Before any work on what the request says: whoever is at a limit costs one look.
    services.memory.require_room()
    lesson_of = admit(services, applicant, created_ms, idempotency)
    _refuse_unknown_agents(request)
    turn = turn_of(services, user.id, request)
    spec = _to_spec(
        services, user, key, applicant, request, turn, mode, request_id, created_ms, lesson_of
    )
    spec = msgspec.structs.replace(spec, retry_of=retry_of)
    question = Question(request.message)
    hit = find_answer(services, spec, question)
    if hit is not None:
        accepted, answered = accept_answered(services, spec, question, hit, applicant, idempotency)
        if accepted.job_id == spec.id:
            services.metrics.count(families.JOBS_SUBMITTED, mode)
            return Submitted(answered, is_repeat=False, windows=accepted.windows)
    else:
        accepted = _accept(services, spec, question, applicant, idempotency)
    if accepted.job_id != spec.id:
        return Submitted(_repeat(services, accepted.job_id, user.id, question), is_repeat=True)
    job = Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=question)
    try:
        services.job_records.insert(job)
    except StoreUnavailable:
        services.acceptance.withdraw(spec, idempotency)
        raise
    services.metrics.count(families.JOBS_SUBMITTED, mode)
    place = services.queue.submit(spec)
    _note_message(services, spec, question)
    return Submitted(job, is_repeat=False, place=place, windows=accepted.windows)


def _note_message(services: WebServices, spec: JobSpec, question: Question) -> None:
    """Have the conversation listed with its message; the record's writer does it again."""
    if spec.turn:
        with suppress(StoreUnavailable):
            services.conversations.note_messages([(spec, question)], within_s=_NOTE_S)


def _accept(
    services: WebServices,
    spec: JobSpec,
    question: Question,
    who: Applicant,
    idempotency: IdempotencyClaim | None,
) -> Accepted:
    accept = partial(
        services.acceptance.accept,
        spec,
        question,
        who.plan,
        idempotency,
        key_limits=who.key_limits,
    )
    try:
        return accept()
    except SumsUnknown:
        services.lost_jobs.know_sums(spec)
        return accept()


def _refuse_unknown_agents(request: ChatRequest | TeamChatRequest) -> None:
    if isinstance(request, ChatRequest):
        field, named = "agent", [request.agent] if request.agent else []
    else:
        field, named = "agents", [] if request.agents == "auto" else list(request.agents)
    if set(named) - set(agent_names()):
        raise UnknownAgent(
            f"`{field}` must name agents of {', '.join(agent_names())}.", field=field
        )


def _to_spec(
    services: WebServices,
    user: User,
    key: ApiKey | None,
    who: Applicant,
    request: ChatRequest | TeamChatRequest,
    turn: Turn,
    mode: Mode,
    request_id: str,
    created_ms: int,
    lesson_of: LessonOf,
) -> JobSpec:
    schedule = schedule_of(request, created_ms, not_before_ms=turn.not_before_ms)
    max_tokens = request.max_tokens or min(DEFAULT_MAX_TOKENS, services.settings.max_output_tokens)
    if isinstance(request, ChatRequest):
        route = settle_route(request, mode, who.plan, services.catalogue, max_tokens)
    else:
        # Relevance may leave it to one agent, whose tier the router chooses.
        route = RouteRequest(max_tier=who.plan.max_tier)
    ask = ask_of(services.catalogue, request, mode, max_tokens)
    reservation = reserve(ask, services.catalogue, lesson_of)
    return JobSpec(
        id=new_job_id(who.user_id),
        user_id=who.user_id,
        mode=mode,
        created_ms=created_ms,
        allowed_ms=services.settings.job_deadline_s * 1000,
        plan=who.plan.name,
        priority=request.priority,
        run_at_ms=schedule.run_at_ms,
        expires_at_ms=schedule.expires_at_ms,
        concurrency_key=request.concurrency_key,
        concurrency_limit=request.concurrency_limit,
        max_tokens=max_tokens,
        temperature=request.temperature,
        agent=request.agent if isinstance(request, ChatRequest) else None,
        team=request.to_team() if isinstance(request, TeamChatRequest) else None,
        route=route,
        conversation_id=turn.conversation_id,
        parent_id=turn.parent_id,
        turn=turn.number,
        cache=request.cache.to_control(),
        metadata=request.metadata,
        webhook=_webhook_of(services, request, key),
        reserved_micros=reservation.expected_micros,
        least_micros=reservation.least_micros,
        budgets=who.budgets,
        api_key_id=who.key_id,
        units=who.units,
        request_id=request_id,
        cache_secret=services.cache_secrets.of(user.id, user.cache_secret),
    )


def _webhook_of(
    services: WebServices, request: ChatRequest | TeamChatRequest, key: ApiKey | None
) -> str | None:
    """Return the URL that is told of the job's end: the request's, else the API key's."""
    if request.webhook is not None:
        return services.reachable.check_url(request.webhook)
    return key.webhook if key is not None else None


def _to_claim(
    request: ChatRequest | TeamChatRequest, mode: Mode, key: str | None
) -> IdempotencyClaim | None:
    if key is None:
        return None
    body = msgspec.json.encode([mode, request.model_dump()], order="deterministic")
    return IdempotencyClaim(
        digest=hashlib.sha256(key.encode()).hexdigest(),
        body_hash=hashlib.sha256(body).hexdigest(),
    )


def _repeat(services: WebServices, job_id: str, user_id: str, question: Question) -> Job:
    """Return the job that an earlier request with the Idempotency-Key made, and make it durable.

    The first request may still wait for its record, or its process may have died before; a second
    insert of the same record changes nothing.

    Args:
        question: of the request, which is the job's: the bodies are the same.
    """
    job = services.job_store.get(job_id)
    if job is not None:
        job = msgspec.structs.replace(job, question=question)
        if job.status is JobStatus.QUEUED and job.attempt == 0:
            services.job_records.insert(job)
    job = job or services.job_records.get(job_id, user_id)
    if job is None:
        # The first request was withdrawn between the two looks; its key is free again.
        raise ServiceUnavailable(retry_after_s=1)
    return job
