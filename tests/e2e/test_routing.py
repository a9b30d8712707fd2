"""Which model answers, over HTTP, through every process of a real stack."""

from __future__ import annotations

import pytest

from tests.api_client import text_of

pytestmark = pytest.mark.e2e

QUICK, STRONG = "openai/gpt-oss-20b", "openai/gpt-oss-120b"
PROOF = "Prove that the square root of 3 is irrational."


def routes_of(api, job):
    events = api.events(job["id"])
    return [event["data"] for event in events if event["type"] == "route.selected"]


def test_the_quick_model_answers_a_simple_question_and_the_job_says_what_that_saved(api):
    job = api.ask("Hello there!")

    assert (job["route"]["tier"], job["route"]["model"]) == ("quick", QUICK)
    assert job["route"]["score"] < 0.33
    assert "small talk" in job["route"]["reason"]
    (selected,) = routes_of(api, job)
    assert selected == job["route"] | {"agent": "sage", "round": 1, "fallback_from": None}
    saved = job["cost"]["saved"]
    assert job["cost"]["saved_usd"] == saved["routing_usd"] > 0
    assert saved["cache_usd"] == saved["prompt_cache_usd"] == 0


def test_the_plan_bounds_the_tier_that_a_hard_question_gets(api):
    job = api.ask(PROOF)

    assert (job["route"]["tier"], job["route"]["model"]) == ("standard", STRONG)
    assert job["route"]["score"] > 0.62
    assert "a proof or derivation" in job["route"]["reason"]
    assert "bounded to standard" in job["route"]["reason"]


@pytest.mark.parametrize(
    ("fields", "tier", "model"),
    [
        ({"tier": "quick"}, "quick", QUICK),
        ({"model": QUICK}, "quick", QUICK),
        ({"tier": "standard"}, "standard", STRONG),
        ({"max_cost_usd": 0.0006}, "quick", QUICK),
    ],
)
def test_what_the_caller_asks_for_answers(api, fields, tier, model):
    job = api.ask(PROOF, **fields)

    assert (job["route"]["tier"], job["route"]["model"]) == (tier, model)
    assert {name: job["request"][name] for name in fields} == fields
    assert 0 < job["cost"]["usd"] <= fields.get("max_cost_usd", 1)
    assert job["cost"]["reserved_usd"] > 0


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "gpt-7"}, 400, "unknown_model"),
        ({"tier": "deep"}, 403, "tier_not_in_plan"),
        ({"max_cost_usd": 0.000001}, 400, "cost_limit_too_low"),
        ({"tier": "quick", "model": QUICK}, 400, "invalid_request"),
        ({"path": "quick", "tier": "standard"}, 400, "invalid_request"),
    ],
)
def test_a_route_that_cannot_be_is_refused_at_submit(api, fields, status, code):
    refused = api.submit("Hi", **fields)

    assert (refused.status_code, refused.json()["code"]) == (status, code)


def cascaded(api, message):
    """Return a cascade's job, what its readers saw, and the tiers it went through."""
    job = api.ask(message, routing="cascade")
    seen = text_of(api.events(job["id"]))
    return job, seen, [route["tier"] for route in routes_of(api, job)]


def test_a_cascade_serves_a_quick_answer_that_passes_its_checks(api):
    job, seen, tiers = cascaded(api, "How many legs do 3 cats have? [[stub:say=12]]")

    assert job["answer"]["text"] == seen == "12 "
    assert (tiers, job["route"]["tier"]) == (["quick"], "quick")
    assert job["route"]["reason"] == "cascade: the quick answer passed its checks"
    assert job["agents"][0].get("drafts", []) == []
    assert job["cost"]["saved"]["routing_usd"] > 0


def test_a_cascade_asks_the_stronger_tier_when_the_quick_answer_was_cut(api):
    job, seen, tiers = cascaded(api, "Tell a tale [[stub:say=the_end]] [[stub:once length]]")

    assert (job["status"], job["answer"]["text"], seen) == ("completed", "the end ", "the end ")
    assert (tiers, job["route"]["model"]) == (["quick", "standard"], STRONG)
    assert job["route"]["reason"] == "cascade: the quick answer was cut short"
    (draft,) = job["agents"][0]["drafts"]
    assert 0 < draft["cost_usd"] < job["cost"]["usd"]
    assert job["cost"]["saved"]["routing_usd"] < 0
