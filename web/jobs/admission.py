"""Who submits, and whether he may submit anything now; before any work on what he asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.account_errors import TooManyAgents
from core.budgets import KeyLimits, budgets_of
from core.jobs import Mode
from core.lessons import to_lesson
from core.reservation import Ask, LessonOf, units_of
from storage.jobs.acceptance import Applicant, IdempotencyClaim
from web.jobs.quote import pinned_tier
from web.jobs.schemas import ChatRequest, TeamChatRequest

if TYPE_CHECKING:
    from core.lessons import Lesson
    from core.models import Catalogue, Model
    from storage.accounts.api_keys import ApiKey
    from storage.accounts.users import User
    from web.services import WebServices


def applicant_of(
    services: WebServices,
    user: User,
    key: ApiKey | None,
    request: ChatRequest | TeamChatRequest,
) -> Applicant:
    """Return who asks, with what his plan allows him, and his API key where one came.

    Raises:
        TrialEnded: the account can only be read.
        TooManyAgents: the plan does not allow so many.
    """
    plan, limits = user.plan_in_force(), KeyLimits()
    if key is not None:
        bound = key.narrowed(plan)
        plan, limits = replace(plan, max_tier=bound.max_tier, agents=bound.agents), bound.limits
    team = request.to_team() if isinstance(request, TeamChatRequest) else None
    units = units_of(team)
    if team is not None and team.agents and units > plan.agents:
        raise TooManyAgents(f"`agents` must be at most {plan.agents} with the plan {plan.name}.")
    return Applicant(
        user_id=user.id,
        plan=plan,
        budgets=budgets_of(
            plan, limits, services.settings.monthly_budget_usd, services.settings.daily_budget_usd
        ),
        key_id=key.id if key else None,
        key_limits=limits,
        units=units,
    )


def admit(
    services: WebServices, who: Applicant, at_ms: int, idempotency: IdempotencyClaim | None
) -> LessonOf:
    """Refuse who is at a limit; return what was learned of each model's answers.

    What this user's answers came to counts before what all users' did.

    Raises:
        TooManyJobs, RateLimitExceeded, BudgetExhausted: nothing more fits now.
    """
    models = list(services.catalogue.models)
    own = services.acceptance.admit(who, at_ms, models, idempotency)
    of_user = dict(zip(models, map(to_lesson, own), strict=True))

    def lesson_of(model: Model) -> Lesson:
        lesson = of_user[model.id]
        return lesson if lesson.is_enough else services.lessons.of_all(model.id)

    return lesson_of


def ask_of(
    catalogue: Catalogue, request: ChatRequest | TeamChatRequest, mode: Mode, max_tokens: int
) -> Ask:
    """Return what of the request its cost depends on."""
    chars = len(request.message)
    if isinstance(request, TeamChatRequest):
        return Ask(chars=chars, max_tokens=max_tokens, team=request.to_team())
    tier = pinned_tier(request, mode, catalogue)
    named = catalogue.get(request.model) if request.model else None
    model = named or (catalogue.for_tier(tier) if tier else None)
    return Ask(chars=chars, max_tokens=max_tokens, agent=request.agent, model=model)
