"""The published document says what really is returned."""

from __future__ import annotations

import inspect
import json

import msgspec
import pytest

from core import events
from core.chat import Usage
from core.events import EVENT_TYPES, TERMINAL_TYPES
from core.jobs import TERMINAL_EVENT, Job, JobStatus, RouteRequest, TeamRequest
from core.outcome import (
    AgentReport,
    Answer,
    CacheUse,
    Draft,
    JobError,
    Outcome,
    Route,
    Savings,
    public_usage,
)
from core.public import to_public
from core.timing import TimeAccount
from tests.jobs import make_spec
from tests.openapi import faults
from web.jobs.event_schemas import EVENTS

ERROR = JobError("token_limit", "The answer reached its token limit.")
USAGE = Usage(input_tokens=7, cached_input_tokens=2, output_tokens=3)
REPORT = AgentReport(
    name="dev",
    status="incomplete",
    tier="quick",
    model="m",
    reason="named",
    usage=USAGE,
    cost_micros=12,
    timing_ms={"queue": 1, "first_token": None, "total": 9},
    error=ERROR,
    text="A",
    drafts=(Draft(model="m", usage=USAGE, cost_micros=1),),
)
ROUTE = Route(tier="quick", model="m", reason="easy", score=0.2)
OUTCOME = Outcome(
    answer=Answer(text="A", finish_reason="length", agents=("dev",)),
    agents=(REPORT, msgspec.structs.replace(REPORT, timing_ms={}, error=None, text=None)),
    synthesis=REPORT,
    usage=USAGE,
    cost_micros=24,
    savings=Savings(routing_micros=-1, cache_micros=2),
    route=ROUTE,
    timing_ms=TimeAccount(0).close(first_token_ms=4),
    error=ERROR,
    degraded=True,
    cache=CacheUse(status="hit", layer="memory", age_s=1.5),
)
TEAM = TeamRequest(agents=("dev", "luna"), strategy="debate", rounds=2, agent_deadline_s=1.5)
SPECS = {
    "of an agent": make_spec(agent="dev", temperature=0.5, metadata={"a": "b"}),
    "of a cascade": make_spec(route=RouteRequest(max_cost_micros=5, is_cascade=True)),
    "of a team": make_spec(mode="multi_agent", team=TEAM),
    "of a chosen team": make_spec(mode="multi_agent", team=TeamRequest()),
}
SAMPLES = (
    events.job_queued("quick"),
    events.job_started(1),
    events.job_retrying("lease_expired", 2, agent="dev", round_number=1, retry_after_s=0.5),
    events.job_retrying("lease_expired", 2),
    events.cache_hit("memory", 1.5, 0.01),
    events.cache_hit(None, None, 0.0, coalesced=True),
    events.route_selected("dev", ROUTE),
    events.agent_started("dev", "m", 1),
    events.agent_delta("dev", "A"),
    events.agent_ended(REPORT),
    events.agent_ended(msgspec.structs.replace(REPORT, status="failed", timing_ms={})),
    events.synthesis_started("m", ("dev", "luna"), 1),
    events.answer_delta("dev", "A"),
    *(
        events.job_ended(kind, status.value, outcome)
        for status, kind in TERMINAL_EVENT.items()
        for outcome in (OUTCOME, Outcome())
    ),
)


#: What the script that ends a job adds to its last event.
TOTALS = {"usage": public_usage(USAGE), "cost_usd": 0.5}


@pytest.fixture
def document(app):
    return app.api_doc


def found_faults(value, name, document):
    schema = {"$ref": f"#/components/schemas/{name}"}
    return list(faults(json.loads(msgspec.json.encode(value)), schema, document))


@pytest.mark.parametrize("outcome", [OUTCOME, None], ids=["ended", "waiting"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_job_fits_its_schema_whatever_was_asked(document, spec, outcome):
    status = JobStatus.INCOMPLETE if outcome else JobStatus.QUEUED
    job = Job(spec=spec, status=status, cursor=1, started_ms=outcome and 1, outcome=outcome)

    assert found_faults(to_public(job), "Job", document) == []


def test_job_fits_its_schema_when_its_question_was_not_loaded(document):
    public = to_public(Job(spec=make_spec(), status=JobStatus.QUEUED))

    public["request"]["message"] = None

    assert found_faults(public, "Job", document) == []


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.type)
def test_event_fits_the_schema_of_its_type(document, event):
    body = {
        "sequence": 1,
        "type": event.type,
        "job_id": "job_1",
        "at": "2026-11-23T10:00:00.000Z",
        "data": event.data | (TOTALS if event.type in TERMINAL_TYPES else {}),
    }

    assert found_faults(body, "Event", document) == []


def test_every_type_of_event_has_a_schema_and_every_constructor_a_sample():
    constructors = [
        function
        for _, function in inspect.getmembers(events, inspect.isfunction)
        if function.__annotations__.get("return") == "NewEvent"
    ]

    assert {event.type for event in SAMPLES} == EVENT_TYPES
    assert set(EVENTS) == EVENT_TYPES | {events.JOB_SNAPSHOT}
    assert len(constructors) == len(EVENT_TYPES - TERMINAL_TYPES)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"extra": 1}, "$: extra is not in the schema"),
        ({"cursor": "1"}, "$.cursor: '1' is not integer"),
        ({"status": "done"}, "$.status: 'done' is not one of"),
        ({"links": {"self": "/", "events": "/"}}, "$.links: cancel is missing"),
    ],
)
def test_difference_is_found_when_there_is_one(document, change, fault):
    public = to_public(Job(spec=make_spec(), status=JobStatus.QUEUED)) | change

    (found,) = found_faults(public, "Job", document)

    assert found.startswith(fault)
