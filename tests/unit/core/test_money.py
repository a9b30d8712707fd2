"""What a job would have cost otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.chat import Usage
from core.models import read_catalogue
from core.money import Call, saved_by_cache, saved_by_calls
from core.outcome import Savings

CATALOGUE = read_catalogue("groq")
QUICK, DEEP = CATALOGUE.for_tier("quick"), CATALOGUE.for_tier("deep")


def call(model, usage, *, is_served=True):
    cost_micros = CATALOGUE.cost_micros(model, usage)
    return Call(model=model, usage=usage, cost_micros=cost_micros, is_served=is_served)


def test_routing_saves_half_when_the_quick_tier_answers():
    savings = saved_by_calls(CATALOGUE, [call(QUICK, Usage(1000, 0, 1000))])

    assert savings == Savings(routing_micros=375)


def test_the_strongest_tier_saves_only_what_the_provider_had_cached():
    savings = saved_by_calls(CATALOGUE, [call(DEEP, Usage(1000, 800, 100))])

    assert savings == Savings(prompt_cache_micros=60)


def test_a_draft_that_nobody_saw_is_a_loss():
    draft = call(QUICK, Usage(1000, 0, 1000), is_served=False)

    savings = saved_by_calls(CATALOGUE, [draft, call(DEEP, Usage(1000, 0, 1000))])

    assert savings == Savings(routing_micros=-draft.cost_micros)


def test_an_answer_from_the_cache_saves_all_that_it_cost():
    assert saved_by_cache(120) == Savings(cache_micros=120)


@given(
    st.lists(
        st.builds(
            lambda model, total, cached, out: call(model, Usage(total, min(cached, total), out)),
            st.sampled_from([QUICK, DEEP]),
            st.integers(0, 10_000),
            st.integers(0, 10_000),
            st.integers(0, 10_000),
        )
    )
)
def test_cost_and_savings_add_up_to_the_price_at_the_strongest_tier_without_any_cache(calls):
    savings = saved_by_calls(CATALOGUE, calls)

    paid = sum(call.cost_micros for call in calls)
    full = sum(
        CATALOGUE.cost_micros(DEEP, Usage(call.usage.input_tokens, 0, call.usage.output_tokens))
        for call in calls
    )
    assert paid + savings.total_micros == full
