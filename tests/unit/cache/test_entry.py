"""Which answers are worth keeping."""

from __future__ import annotations

import msgspec
import pytest

from cache.entry import decode, encode, to_entry
from core.chat import Usage
from core.jobs import JobStatus
from core.outcome import AgentReport, Answer, JobError, Outcome
from tests.jobs import make_spec

REPORT = AgentReport(
    name="dev",
    status="completed",
    tier="quick",
    model="m",
    reason="r",
    usage=Usage(input_tokens=3, output_tokens=1),
    cost_micros=7,
)
GOOD = Outcome(
    answer=Answer(text="words", finish_reason="stop", agents=("dev",)),
    agents=(REPORT,),
)
FAILED = msgspec.structs.replace(REPORT, status="failed", error=JobError("x", "y"))
FALLEN_BACK = msgspec.structs.replace(REPORT, fallback_from="better")


def but(**fields):
    return msgspec.structs.replace(GOOD, **fields)


def test_whole_answer_is_kept_and_read_back_as_it_was():
    spec = make_spec()

    entry = to_entry(spec, JobStatus.COMPLETED, GOOD, "v1")

    assert decode(encode(entry)) == entry
    assert (entry.user_id, entry.models) == (spec.user_id, ("m",))
    assert (entry.usage, entry.cost_micros) == (REPORT.usage, REPORT.cost_micros)


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
def test_what_is_not_whole_and_good_is_not_kept(status, outcome):
    assert to_entry(make_spec(), status, outcome, "v1") is None


@pytest.mark.parametrize("data", [b"", b"\x00", b"{}", b"\x91\x01"])
def test_what_another_version_wrote_is_a_miss(data):
    assert decode(data) is None
