"""What calls may cost, and what they did."""

from __future__ import annotations

from contextlib import suppress

import pytest

from core.chat import Message, StreamEnd, TextDelta, Usage
from core.model_errors import PermanentModelError, RateLimited, TransientModelError
from core.models import read_catalogue
from ops.routing.paid_model import BudgetUsedUp, CallFailed, PaidModel
from tests.fakes import ScriptedModel

CATALOGUE = read_catalogue("groq")
DEEP = CATALOGUE.for_tier("deep")
USAGE = Usage(input_tokens=1000, output_tokens=100)
PRICE = CATALOGUE.cost_micros(DEEP, USAGE)
QUESTION = (Message("user", "Why?"),)


def said(text, usage=USAGE):
    return [TextDelta(text), StreamEnd(finish_reason="stop", usage=usage)]


def paid(*scripts, budget_micros=1_000_000):
    model = ScriptedModel(*scripts)
    return PaidModel(model, CATALOGUE, DEEP, budget_micros=budget_micros), model


def ask(model, max_tokens=500):
    return model.ask(QUESTION, booking="b", max_tokens=max_tokens, temperature=0.3)


def test_call_costs_what_the_provider_counted():
    model, scripted = paid(said("Because."))

    reply = ask(model)

    assert (reply.text, reply.finish_reason) == ("Because.", "stop")
    assert reply.cost_micros == model.spent_micros == PRICE
    (request,) = scripted.requests
    assert (request.model, request.max_tokens, request.temperature) == (DEEP.id, 500, 0.3)


def test_no_call_is_made_when_its_highest_price_is_not_left():
    most = paid()[0].most_micros(len("Why?"), 500)
    model, scripted = paid(said("a"), said("b"), budget_micros=most + PRICE - 1)
    ask(model)

    with pytest.raises(BudgetUsedUp):
        ask(model)

    assert (len(scripted.requests), model.spent_micros) == (1, PRICE)


def test_highest_price_covers_a_token_for_each_byte():
    model, _ = paid()

    assert model.most_micros(10_000, 0) > CATALOGUE.cost_micros(DEEP, Usage(input_tokens=10_000))


@pytest.mark.parametrize("failure", [TransientModelError(), RateLimited(retry_after_s=0.01)])
def test_call_is_made_again_when_that_may_help(failure):
    model, scripted = paid([failure], said("Because."))

    assert ask(model).text == "Because."
    assert len(scripted.requests) == 2
    assert {request.booking for request in scripted.requests} == {"b"}
    assert model.spent_micros == PRICE


def test_call_fails_with_the_providers_words_when_a_repeat_cannot_help():
    model, scripted = paid([PermanentModelError("The key is wrong.")])

    with pytest.raises(CallFailed, match="The key is wrong"):
        ask(model)

    assert (len(scripted.requests), model.spent_micros) == (1, 0)


@pytest.mark.parametrize(
    "script", [[TextDelta("Be"), PermanentModelError()], said("Because.", usage=None)]
)
def test_call_counts_with_its_highest_price_when_its_usage_is_unknown(script):
    model, _ = paid(script)

    with suppress(CallFailed):
        ask(model)

    assert model.spent_micros == model.most_micros(len("Why?"), 500)


def test_repeats_count_too_and_end_with_the_budget():
    most = paid()[0].most_micros(len("Why?"), 500)
    broken = [TextDelta("Be"), TransientModelError()]
    model, scripted = paid(broken, broken, budget_micros=most)

    with pytest.raises(BudgetUsedUp):
        ask(model)

    assert (len(scripted.requests), model.spent_micros) == (1, most)
