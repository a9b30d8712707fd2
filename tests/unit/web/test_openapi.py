"""The published document says what really is returned."""

from __future__ import annotations

import inspect
import json

import msgspec
import pytest

from core import events
from core.events import EVENT_TYPES, TERMINAL_TYPES
from core.jobs import Job, JobStatus, Question, RouteRequest, TeamRequest
from core.outcome import public_usage
from core.public import to_public
from tests.jobs import make_spec
from tests.openapi import faults
from tests.samples import EVENTS as EVENTS_OF_ALL_TYPES
from tests.samples import OUTCOME, USAGE
from web.jobs.event_schemas import EVENTS

TEAM = TeamRequest(agents=("dev", "luna"), strategy="debate", rounds=2, agent_deadline_s=1.5)
SPECS = {
    "of an agent": make_spec(agent="dev", temperature=0.5, metadata={"a": "b"}),
    "of a cascade": make_spec(route=RouteRequest(max_cost_micros=5, is_cascade=True)),
    "of a team": make_spec(mode="multi_agent", team=TEAM),
    "of a chosen team": make_spec(mode="multi_agent", team=TeamRequest()),
}
#: What the script that ends a job adds to its last event.
TOTALS = {"usage": public_usage(USAGE), "cost_usd": 0.5}


@pytest.fixture
def document(app):
    return app.api_doc


def found_faults(value, name, document):
    schema = {"$ref": f"#/components/schemas/{name}"}
    return list(faults(json.loads(msgspec.json.encode(value)), schema, document))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_job_fits_its_schema_when_it_has_ended(document, spec):
    job = Job(
        spec=spec,
        status=JobStatus.INCOMPLETE,
        question=Question("Why?"),
        cursor=9,
        attempt=1,
        started_ms=spec.created_ms,
        finished_ms=spec.created_ms + 9,
        outcome=OUTCOME,
    )

    assert found_faults(to_public(job), "Job", document) == []


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_job_fits_its_schema_when_it_waits_and_its_question_was_not_loaded(document, spec):
    job = Job(spec=spec, status=JobStatus.QUEUED, cursor=1)

    assert found_faults(to_public(job), "Job", document) == []


@pytest.mark.parametrize("event", EVENTS_OF_ALL_TYPES, ids=lambda event: event.type)
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

    assert {event.type for event in EVENTS_OF_ALL_TYPES} == EVENT_TYPES
    assert set(EVENTS) == EVENT_TYPES | {events.JOB_SNAPSHOT}
    assert len(constructors) == len(EVENT_TYPES - TERMINAL_TYPES)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"extra": 1}, "$: extra is not in the schema"),
        ({"cursor": "1"}, "$.cursor: '1' is not integer"),
        ({"status": "done"}, "$.status: 'done' is not one of"),
        (
            {"links": {"self": "/", "events": "/", "retry": "/", "feedback": "/"}},
            "$.links: cancel is missing",
        ),
    ],
)
def test_difference_is_found_when_there_is_one(document, change, fault):
    public = to_public(Job(spec=make_spec(), status=JobStatus.QUEUED)) | change

    (found,) = found_faults(public, "Job", document)

    assert found.startswith(fault)
