"""Which jobs are compared."""

from __future__ import annotations

import msgspec
import pytest

from core.ids import new_job_id, new_user_id
from core.jobs import JobSpec, JobStatus
from core.models import read_catalogue
from core.outcome import AgentReport, Answer, CacheUse, Outcome, Route
from workers.shadow import answered_below, is_sampled

CATALOGUE = read_catalogue("groq")
DEEP, QUICK = CATALOGUE.for_tier("deep"), CATALOGUE.for_tier("quick")
USER = new_user_id()
SPEC = JobSpec(
    id=new_job_id(USER),
    user_id=USER,
    mode="quick",
    message="Why?",
    created_ms=0,
    deadline_ms=1,
    max_tokens=10,
)
REPORT = AgentReport(name="sage", status="completed", tier="quick", model=QUICK.id, reason="")
OUTCOME = Outcome(
    answer=Answer(text="Because.", finish_reason="stop", agents=("sage",)),
    agents=(REPORT,),
    cost_micros=7,
    route=Route(tier="quick", model=QUICK.id, reason="quick mode"),
    cache=CacheUse(status="miss"),
)


def test_answer_of_a_cheaper_model_is_compared():
    found = answered_below(DEEP, SPEC, JobStatus.COMPLETED, OUTCOME)

    assert (found.agent, found.text, found.cost_micros) == ("sage", "Because.", 7)
    assert found.route is OUTCOME.route


@pytest.mark.parametrize(
    "changed",
    [
        {"answer": None},
        {"route": None},
        {"route": Route(tier="deep", model=QUICK.id, reason="")},
        {"route": Route(tier="standard", model=DEEP.id, reason="")},
        {"agents": (REPORT, REPORT)},
        {"synthesis": REPORT},
        {"cache": CacheUse(status="hit")},
        {"cache": CacheUse(status="coalesced")},
    ],
    ids=str,
)
def test_answer_is_not_compared_when_the_comparison_would_say_nothing(changed):
    outcome = msgspec.structs.replace(OUTCOME, **changed)

    assert answered_below(DEEP, SPEC, JobStatus.COMPLETED, outcome) is None


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.INCOMPLETE, JobStatus.CANCELLED])
def test_answer_is_not_compared_when_it_is_not_whole(status):
    assert answered_below(DEEP, SPEC, status, OUTCOME) is None


def test_answer_is_not_compared_when_it_belongs_to_a_conversation():
    spec = msgspec.structs.replace(SPEC, conversation_id="c")

    assert answered_below(DEEP, spec, JobStatus.COMPLETED, OUTCOME) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_about_the_share_of_the_jobs_is_sampled(share):
    sampled = sum(is_sampled(new_job_id(USER), share) for _ in range(4000))

    assert abs(sampled / 4000 - share) <= (0.05 if 0 < share < 1 else 0)


def test_job_that_is_sampled_stays_so_when_the_share_grows():
    ids = [new_job_id(USER) for _ in range(1000)]

    few = {job_id for job_id in ids if is_sampled(job_id, 0.2)}

    assert few < {job_id for job_id in ids if is_sampled(job_id, 0.6)}
