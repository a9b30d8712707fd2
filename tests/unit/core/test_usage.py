"""Sums over jobs: what they count, and that adding them up is the same in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.chat import Usage as Tokens
from core.jobs import Feedback, Job, JobStatus
from core.outcome import AgentReport, CacheUse, Outcome, Savings
from core.usage import MOST_GROUPS, OTHER, Usage, usage_of
from tests.jobs import make_spec

TOKENS = Tokens(input_tokens=7, cached_input_tokens=3, output_tokens=5)


def report(name="dev", model="small", **changes):
    fields = {"usage": TOKENS, "cost_micros": 20, "tier": "quick", "reason": "", **changes}
    return AgentReport(name=name, status="completed", model=model, **fields)


def job(outcome=None, *, status=JobStatus.COMPLETED, took_ms=2_000, **changes):
    spec = make_spec()
    return Job(
        spec=spec,
        status=status,
        finished_ms=spec.created_ms + took_ms,
        outcome=outcome
        or Outcome(
            agents=(report(),),
            usage=TOKENS,
            cost_micros=20,
            timing_ms={"first_token": 500, "total": took_ms},
            cache=CacheUse(status="miss"),
        ),
        **changes,
    )


def test_a_job_counts_in_all_and_for_its_model_agent_and_mode():
    usage = usage_of([job(feedback=Feedback(rating="up", at_ms=1))])

    assert usage.total.statuses == {"completed": 1}
    assert (usage.total.input_tokens, usage.total.cached_input_tokens) == (7, 3)
    assert (usage.total.output_tokens, usage.total.cost_micros) == (5, 20)
    assert usage.total.cache == {"miss": 1}
    assert usage.total.feedback == {"up": 1}
    assert usage.total.percentile("latency", 0.5) == pytest.approx(2.0, rel=0.02)
    assert usage.total.percentile("first_token", 0.5) == pytest.approx(0.5, rel=0.02)
    for groups, key in ((usage.model, "small"), (usage.agent, "dev"), (usage.mode, "optimized")):
        assert list(groups) == [key]
        assert (groups[key].jobs, groups[key].cost_micros) == (1, 20)


def test_a_team_counts_once_for_each_agent_and_the_rest_is_other():
    synthesis = report("synthesis", "large", cost_micros=50)
    outcome = Outcome(
        agents=(report("dev"), report("luna")),
        synthesis=synthesis,
        usage=TOKENS + TOKENS + TOKENS + Tokens(output_tokens=4),
        cost_micros=100,
    )

    usage = usage_of([job(outcome)])

    assert {name: tally.cost_micros for name, tally in usage.agent.items()} == {
        "dev": 20,
        "luna": 20,
        "synthesis": 50,
        OTHER: 10,
    }
    assert {name: tally.jobs for name, tally in usage.model.items()} == {
        "small": 1,
        "large": 1,
        OTHER: 0,
    }
    assert usage.agent[OTHER].output_tokens == 4
    assert usage.total.jobs == 1


def test_an_answer_from_the_cache_counts_for_no_model():
    hit = Outcome(
        agents=(report(),),
        cache=CacheUse(status="hit", layer="memory", age_s=1),
        savings=Savings(cache_micros=30),
    )

    usage = usage_of([job(hit)])

    assert usage.model == usage.agent == {}
    assert usage.total.cache == {"hit": 1}
    assert usage.total.saved_by_cache_micros == 30


def test_a_job_that_goes_on_does_not_count():
    assert usage_of([job(status=JobStatus.IN_PROGRESS)]) == Usage()


def test_a_failed_job_has_no_latency():
    assert usage_of([job(status=JobStatus.FAILED)]).total.latency == {}


def test_groups_are_bounded():
    outcomes = [Outcome(agents=(report(model=f"m{n}"),)) for n in range(MOST_GROUPS + 9)]

    usage = usage_of(map(job, outcomes))

    assert len(usage.model) == MOST_GROUPS + 1
    assert sum(tally.cost_micros for tally in usage.model.values()) == 20 * (MOST_GROUPS + 9)


outcomes = st.builds(
    lambda micros, status, took_ms: replace(
        job(status=status, took_ms=took_ms), outcome=Outcome(cost_micros=micros)
    ),
    st.integers(0, 10**9),
    st.sampled_from([JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED]),
    st.integers(0, 10**6),
)


@given(st.lists(outcomes, max_size=12), st.integers(0, 12))
def test_sums_are_the_same_however_jobs_are_divided(jobs, at):
    parts = usage_of(jobs[:at])
    parts.add(usage_of(jobs[at:]))

    assert parts == usage_of(jobs)
