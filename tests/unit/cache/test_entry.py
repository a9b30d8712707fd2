"""Which answers are kept, and the job that a kept one answers."""

from __future__ import annotations

import msgspec
import pytest

from cache.entry import Hit, decode, encode, to_entry
from core.events import answer_delta, cache_hit
from core.jobs import JobStatus
from core.outcome import AgentReport, Answer, CacheUse, JobError, Outcome
from tests.jobs import make_spec

REPORT = AgentReport(
    name="dev", status="completed", tier="quick", model="m", reason="r", cost_micros=7
)
GOOD = Outcome(
    answer=Answer(text="words", finish_reason="stop", agents=("dev",)),
    agents=(REPORT,),
)
FAILED = msgspec.structs.replace(REPORT, status="failed", error=JobError("x", "y"))
FALLEN_BACK = msgspec.structs.replace(REPORT, fallback_from="better")


def but(**fields):
    return msgspec.structs.replace(GOOD, **fields)


def test_complete_answer_is_kept_and_decoded_as_it_was():
    spec = make_spec()

    entry = to_entry(spec, JobStatus.COMPLETED, GOOD, "v1")

    assert entry is not None
    assert decode(encode(entry)) == entry
    assert (entry.user_id, entry.models, entry.cost_micros) == (spec.user_id, ("m",), 7)


def test_entry_costs_what_its_agents_and_synthesis_cost_together():
    team = but(agents=(REPORT, REPORT), synthesis=REPORT, cost_micros=1)

    entry = to_entry(make_spec(), JobStatus.COMPLETED, team, "v1")

    assert entry.cost_micros == 21


def test_hit_answers_a_job_at_no_cost_and_says_what_it_saved():
    entry = to_entry(make_spec(), JobStatus.COMPLETED, GOOD, "v1")
    hit = Hit(entry, "redis", 1.23456)

    outcome, (found, delta) = hit.to_outcome({"total": 2}), hit.to_events()

    assert (outcome.answer, outcome.cost_micros, outcome.timing_ms) == (
        GOOD.answer,
        0,
        {"total": 2},
    )
    assert outcome.savings.cache_micros == outcome.baseline_micros == 7
    assert outcome.cache == CacheUse(status="hit", layer="redis", age_s=1.235)
    assert found == cache_hit("redis", 1.235, 0.000007)
    assert delta == answer_delta("dev", "words")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (JobStatus.FAILED, GOOD),
        (JobStatus.INCOMPLETE, GOOD),
        (JobStatus.CANCELLED, GOOD),
        (JobStatus.COMPLETED, but(answer=None)),
        (JobStatus.COMPLETED, but(degraded=True)),
        (JobStatus.COMPLETED, but(agents=(FAILED,))),
        (JobStatus.COMPLETED, but(agents=(FALLEN_BACK,))),
        (JobStatus.COMPLETED, but(agents=(REPORT, REPORT), synthesis=FALLEN_BACK)),
        (JobStatus.COMPLETED, but(answer=Answer(text="w", finish_reason="length", agents=()))),
        (JobStatus.COMPLETED, but(answer=Answer(text="", finish_reason="stop", agents=()))),
    ],
)
def test_answer_that_is_not_complete_and_good_is_not_kept(status, outcome):
    assert to_entry(make_spec(), status, outcome, "v1") is None


@pytest.mark.parametrize("data", [b"", b"\x00", b"{}", b"\x91\x01"])
def test_entry_of_another_version_decodes_to_nothing(data):
    assert decode(data) is None
