"""`aether routing` over records in a real database, with the stub as the provider."""

from __future__ import annotations

import httpx
import pytest
from typer.testing import CliRunner

from core.comparisons import Comparison
from core.ids import new_user_id
from core.jobs import Feedback, Job, JobStatus, Question
from core.models import read_catalogue
from core.outcome import AgentReport, Answer, CacheUse, Outcome, Route
from core.routing_rules import read_rules
from ops.cli.main import app
from storage.records.comparisons import Comparisons
from storage.records.feedback import FeedbackRecords
from storage.records.jobs import JobRecords
from tests.jobs import make_comparison, make_spec

CATALOGUE = read_catalogue("groq")
DEEP, QUICK = CATALOGUE.for_tier("deep"), CATALOGUE.for_tier("quick")
#: The deep tier's answer is in the second place first, and then in the first.
DEEP_WINS = "[[stub@judge:say=first]] [[stub@judge:once say=second]]"
TIE = "[[stub@judge:say=tie]]"


@pytest.fixture
def aether(mongo_server, mongo_database, redis_server, redis_client, stub_server, monkeypatch):
    """Runs `aether routing` with settings that lead to this test's database."""
    for name, value in {
        "AETHER_MONGO_URL": mongo_server.url,
        "AETHER_MONGO_DATABASE": mongo_database.name,
        "AETHER_REDIS_URL": redis_server.url,
        "AETHER_LLM_URL": stub_server.url,
    }.items():
        monkeypatch.setenv(name, value)

    def run(*words):
        return CliRunner().invoke(app, ["routing", *words])

    return run


@pytest.fixture
def record(mongo_database):
    """Puts a question and its quick answer on record and returns the job's id."""
    records = JobRecords(mongo_database)
    report = AgentReport(name="sage", status="completed", tier="quick", model=QUICK.id, reason="")
    outcome = Outcome(
        answer=Answer(text="Because.", finish_reason="stop", agents=("sage",)),
        agents=(report,),
        cost_micros=7,
        route=Route(tier="quick", model=QUICK.id, reason="quick mode"),
        cache=CacheUse(status="miss"),
    )

    def record(message):
        spec, question = make_spec(), Question(message)
        job = Job(spec=spec, question=question, status=JobStatus.COMPLETED, outcome=outcome)
        records.write_finished([job])
        return spec.id

    return record


@pytest.fixture
def comparisons(mongo_database):
    return Comparisons(mongo_database)


def calls_of(stub_server):
    return httpx.get(f"{stub_server.url}/stub/stats").json()["requests"]


def compared(job_id, verdict) -> Comparison:
    return make_comparison(verdict, job_id=job_id, model=QUICK.id, deep_model=DEEP.id)


def test_an_answer_is_compared_once_stored_and_reported(
    aether, record, comparisons, mongo_database, stub_server
):
    job_id = record(f"Which is the deeper one? {DEEP_WINS}")
    before = calls_of(stub_server)

    shown = aether("evaluate", "--budget-usd", "1")
    again = aether("evaluate", "--budget-usd", "1")

    assert "Compared: 1 of 1." in shown.output
    assert "0 answers of 30 days can be compared" in again.output
    assert calls_of(stub_server) - before == 3
    (found,) = comparisons.since(0)
    assert (found.job_id, found.tier, found.verdict) == (job_id, "quick", "worse")
    assert (found.model, found.deep_model, found.cost_micros) == (QUICK.id, DEEP.id, 7)
    assert found.deep_cost_micros > found.cost_micros
    assert found.judging_cost_micros > 0
    assert "deeper" not in str(mongo_database["comparisons"].find_one())
    reported = aether("report").output
    assert f"quick, {QUICK.id}: 1 compared, 1 worse, 0 better, 0 ties; regret 100.0%" in reported
    assert reported in shown.output


def test_no_more_is_compared_than_the_sample_asks_for(aether, record, comparisons):
    ids = {record(f"Which is number {n}? {TIE}") for n in range(4)}

    shown = aether("evaluate", "--sample", "2", "--budget-usd", "1")

    assert "4 answers of 30 days can be compared; 2 are chosen." in shown.output
    found = {comparison.job_id for comparison in comparisons.since(0)}
    assert len(found) == 2
    assert found < ids


def test_nothing_is_called_when_the_budget_does_not_hold_a_comparison(aether, record, stub_server):
    record(f"Is there a budget? {TIE}")
    before = calls_of(stub_server)

    shown = aether("evaluate", "--budget-usd", "0.001")

    assert "The budget is used up. Not tried: 1." in shown.output
    assert "Compared: 0 of 1. Spent: $0.000000." in shown.output
    assert calls_of(stub_server) == before
    assert "Nothing was compared" in aether("report").output


def test_weights_are_fitted_to_comparisons_and_ratings(
    aether, record, comparisons, mongo_database, tmp_path
):
    for n in range(60):
        atoms = record(f"Which acid has {n} atoms in a molecule?")
        lemma = record(f"Which lemma has {n} a corollary?")
        comparisons.add(compared(atoms, "worse"))
        comparisons.add(compared(lemma, "tie"))
    rated = record("Tell me a joke")
    feedback = Feedback(rating="up", at_ms=1_795_413_600_000)
    FeedbackRecords(mongo_database).set(new_user_id(), rated, feedback)
    out = tmp_path / "own.toml"

    shown = aether("fit", "--out", str(out), "--days", "3650")

    assert shown.exit_code == 0, shown.output
    assert "Fitted to 120 compared and 1 rated questions." in shown.output
    assert "APGR, cross-validated: 0.75" in shown.output
    assert "shipped weights 0.25" in shown.output
    fitted, shipped = read_rules(out).features, read_rules().features
    assert fitted["natural_science"].weight > shipped["natural_science"].weight
    assert fitted["proof"].weight < shipped["proof"].weight


def test_no_weights_are_written_when_there_are_too_few_labels(
    aether, record, comparisons, tmp_path
):
    comparisons.add(compared(record("Is this enough?"), "worse"))
    out = tmp_path / "own.toml"

    refused = aether("fit", "--out", str(out), "--days", "3650")

    assert refused.exit_code == 1
    assert "there are 1 and 1" in refused.output
    assert not out.exists()
