"""What a job would have cost otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.chat import Usage
from core.models import read_catalogue
from core.money import Call, saved_by_cache, saved_by_calls

CATALOGUE = read_catalogue("groq")
QUICK, DEEP = CATALOGUE.for_tier("quick"), CATALOGUE.for_tier("deep")


def call(model, usage, *, is_served=True):
    cost_micros = CATALOGUE.cost_micros(model, usage)
    return Call(model=model, usage=usage, cost_micros=cost_micros, is_served=is_served)


def test_routing_saves_half_when_the_quick_tier_answers():
    baseline, savings = saved_by_calls(CATALOGUE, [call(QUICK, Usage(1000, 0, 1000))])

    assert baseline == 150 + 600
    assert (savings.routing_micros, savings.prompt_cache_micros) == (375, 0)


def test_the_strongest_tier_saves_only_what_the_provider_had_cached():
    baseline, savings = saved_by_calls(CATALOGUE, [call(DEEP, Usage(1000, 800, 100))])

    assert baseline == 150 + 60
    assert (savings.routing_micros, savings.prompt_cache_micros) == (0, 60)


def test_a_draft_that_nobody_saw_is_a_loss_and_no_part_of_the_baseline():
    draft = call(QUICK, Usage(1000, 0, 1000), is_served=False)

    baseline, savings = saved_by_calls(CATALOGUE, [draft, call(DEEP, Usage(1000, 0, 1000))])

    assert baseline == 750
    assert savings.routing_micros == -draft.cost_micros


def test_an_answer_from_the_cache_saves_all_that_it_cost():
    baseline, savings = saved_by_cache(120)

    assert baseline == savings.total_micros == savings.cache_micros == 120


@given(
    st.lists(
        st.builds(
            lambda model, total, cached, out, served: call(
                model, Usage(total, min(cached, total), out), is_served=served
            ),
            st.sampled_from([QUICK, DEEP]),
            st.integers(0, 10_000),
            st.integers(0, 10_000),
            st.integers(0, 10_000),
            st.booleans(),
        )
    )
)
def test_the_savings_add_up_to_baseline_minus_cost(calls):
    baseline, savings = saved_by_calls(CATALOGUE, calls)

    assert savings.total_micros == baseline - sum(call.cost_micros for call in calls)
