"""Who may answer."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.errors import CostLimitTooLow, InvalidRequest, TierNotInPlan, UnknownModel
from core.models import read_catalogue
from core.plans import PLANS
from web.jobs.quote import settle_route
from web.jobs.schemas import ChatRequest

CATALOGUE = read_catalogue("groq")
QUICK_COST, DEEP_COST = (
    CATALOGUE.estimate_micros(CATALOGUE.for_tier(tier), 2, 100) for tier in ("quick", "deep")
)


def settle(plan="pro", mode="optimized", **fields):
    request = ChatRequest.model_construct(**({"message": "Hi"} | fields))
    return settle_route(request, mode, PLANS[plan], CATALOGUE, 100)


@pytest.mark.parametrize(
    ("fields", "max_tier"),
    [
        ({}, "deep"),
        ({"plan": "trial"}, "standard"),
        ({"mode": "quick"}, "quick"),
        ({"tier": "quick"}, "quick"),
        ({"model": "openai/gpt-oss-20b"}, "quick"),
        ({"max_cost_usd": DEEP_COST / 1e6}, "deep"),
        ({"max_cost_usd": (DEEP_COST - 1) / 1e6}, "quick"),
        ({"routing": "cascade"}, "deep"),
    ],
)
def test_the_strongest_tier_is_that_which_plan_and_limit_allow(fields, max_tier):
    assert settle(**fields).max_tier == max_tier


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "gpt-7"}, UnknownModel),
        ({"tier": "deep", "plan": "trial"}, TierNotInPlan),
        ({"max_cost_usd": 0.000001}, CostLimitTooLow),
        ({"tier": "deep", "max_cost_usd": QUICK_COST / 1e6}, CostLimitTooLow),
        ({"mode": "quick", "tier": "deep"}, InvalidRequest),
        ({"mode": "quick", "model": "openai/gpt-oss-20b"}, InvalidRequest),
        ({"mode": "quick", "routing": "cascade"}, InvalidRequest),
    ],
)
def test_what_nobody_may_answer_is_refused(fields, error):
    with pytest.raises(error):
        settle(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"tier": "quick", "model": "openai/gpt-oss-20b"},
        {"tier": "quick", "routing": "cascade"},
        {"model": "openai/gpt-oss-20b", "routing": "cascade"},
        {"tier": "huge"},
        {"max_cost_usd": 0},
        {"max_cost_usd": float("inf")},
        {"routing": "random"},
    ],
)
def test_a_request_that_contradicts_itself_is_refused(app, fields):
    with app.app_context(), pytest.raises(ValidationError):
        ChatRequest.model_validate({"message": "Hi"} | fields)
