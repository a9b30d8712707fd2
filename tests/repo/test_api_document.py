"""docs/api.md says what the code says: routes, the job, events, errors and plans, both ways."""

from __future__ import annotations

import ast
import json
import re

import pytest

from core import errors, model_errors
from core.events import TERMINAL_TYPES
from core.outcome import CUT_BY_TOKENS, WORKER_LOST
from core.plans import PLANS
from core.settings import Settings
from ops.stack.state import ROOT
from tests.openapi import faults
from tests.repo.tree import modules
from tests.samples import EVENTS
from web.app import create_app
from web.services import EXTENSION

TEXT = (ROOT / "docs" / "api.md").read_text()
#: What the script that ends a job adds to its last event.
TOTALS = {"usage", "cost_usd"}
#: They stop a worker's own work and reach nobody.
INTERNAL = {errors.SlotUnavailable, errors.SumsUnknown, model_errors.TurnStopped}


@pytest.fixture(scope="module")
def document():
    app = create_app(Settings(jwt_secret="Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA"))
    yield app.api_doc
    app.extensions[EXTENSION].close()


def table(first_heading):
    """Return the cells of each row of the table whose first column has this heading."""
    found = re.search(rf"^\| {first_heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert found
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in found[1].splitlines()]


def codes_in(cell):
    return set(re.findall(r"`([^`]+)`", cell))


def kinds(base):
    return [base, *(kind for child in base.__subclasses__() for kind in kinds(child))]


def test_routes_are_those_of_the_openapi_document(document):
    described = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }

    assert {route for cell, *_ in table("Route") for route in codes_in(cell)} == described


def test_example_of_a_job_fits_its_schema(document):
    found = re.search(r"```jsonc\n(.*?)```", TEXT, re.DOTALL)
    assert found
    job = json.loads(re.sub(r" +// .*", "", found[1]))

    assert list(faults(job, {"$ref": "#/components/schemas/Job"}, document)) == []
    parts = [
        value for name, value in job["timing_ms"].items() if name not in ("first_token", "total")
    ]
    assert sum(parts) == job["timing_ms"]["total"]


def test_example_of_an_error_fits_its_schema(document):
    found = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert found

    assert (
        list(faults(json.loads(found[1]), {"$ref": "#/components/schemas/Problem"}, document)) == []
    )


def test_statuses_are_those_of_a_job(document):
    described = {code for cell, *_ in table("Status") for code in codes_in(cell)}

    assert described == set(document["components"]["schemas"]["JobStatus"]["enum"])


def test_events_have_the_data_that_their_constructors_give_them():
    made = {
        event.type: set(event.data) | (TOTALS if event.type in TERMINAL_TYPES else set())
        for event in EVENTS
    }

    assert {codes_in(type_).pop(): codes_in(data) for type_, data, _ in table("Type")} == made


def test_errors_are_those_that_the_api_can_raise():
    raised = {
        (kind.code, str(kind.status))
        for kind in kinds(errors.AetherError)
        if not issubclass(kind, model_errors.ModelError) and kind not in INTERNAL
    }

    assert {(codes_in(code).pop(), status) for code, status, _ in table("Code")} == raised


def test_errors_of_jobs_are_those_that_the_code_makes():
    literals = {
        call.args[0].value
        for path in modules()
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("JobError")
        if call.args and isinstance(call.args[0], ast.Constant)
    }
    of_models = {kind.code for kind in kinds(model_errors.ModelError)}

    assert {codes_in(code).pop() for code, _ in table("Job error")} == (
        literals | of_models | {WORKER_LOST, CUT_BY_TOKENS}
    )


def test_plans_have_the_limits_that_the_code_gives_them():
    assert {codes_in(name).pop(): rest for name, *rest in table("Plan")} == {
        plan.name: [
            f"{plan.unfinished:,}",
            f"{plan.running:,}",
            str(plan.weight),
            f"${plan.monthly_budget_micros // 1_000_000:,}",
            plan.max_tier,
            f"{plan.requests_per_minute:,}",
            f"{plan.requests_per_day:,}",
            f"{plan.tokens_per_day:,}",
            f"{plan.bytes_per_hour // 1_000_000:,}",
            str(plan.agents),
            f"{plan.batch_lines:,}",
        ]
        for plan in PLANS.values()
    }
