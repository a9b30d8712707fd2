"""The life of a job in a worker, with the scripts in memory and a model that follows a script."""

from __future__ import annotations

import pytest
from celery import Celery

import workers.patience
from agents.answer import AnswerRunner
from agents.plan import Planner
from cache.fingerprint import Fingerprints
from cache.response_cache import ResponseCache
from core.chat import StreamEnd, TextDelta, Usage
from core.events import answer_text, job_retrying, job_started
from core.jobs import CacheControl, JobStatus, RouteRequest, TeamRequest
from core.model_errors import (
    BudgetUsedUp,
    ModelTimeout,
    PermanentModelError,
    RateLimited,
    TurnStopped,
)
from core.models import read_catalogue
from core.personas import load_personas, load_synthesis, load_title
from core.routing_rules import read_rules
from storage.jobs.claims import Hold
from storage.limits.single_flight import Alone, Failed, Kept
from tests.fakes import (
    AbsentRedis,
    Circuits,
    FixedHistory,
    GatheredLessons,
    InMemoryFlights,
    InMemoryJobs,
    ScriptedModel,
    SentWakeUps,
)
from tests.jobs import make_spec
from workers.answer_cache import AnswerCache
from workers.attempt_factory import AttemptFactory
from workers.event_writer import EventWriter
from workers.leases import LeaseKeeper
from workers.run_job import JobRunner
from workers.single_flight import SingleFlight
from workers.task_events import TaskEvents

CATALOGUE = read_catalogue("groq")
USAGE = Usage(input_tokens=100, output_tokens=10)
END = StreamEnd(finish_reason="stop", usage=USAGE)
ANSWER = [TextDelta("an "), TextDelta("answer"), END]


class StartedTeams:
    """Remembers the teams that were started."""

    def __init__(self):
        self.plans = []

    def start(self, attempt, plan, fingerprint):
        self.plans.append(plan)


class Road:
    """A JobRunner and what it stands on; `calls` is what the model answers, call by call."""

    def __init__(self, *calls):
        self.jobs, self.flights, self.wake_ups = InMemoryJobs(), InMemoryFlights(), SentWakeUps()
        self.model, self.teams = ScriptedModel(*calls), StartedTeams()
        self.keeper = LeaseKeeper(self.jobs, renew_every_s=5)
        self.writer = EventWriter(self.jobs)
        self.histories, self.lessons = FixedHistory(), GatheredLessons()
        attempts = AttemptFactory(
            *(self.jobs, self.keeper, self.writer, CATALOGUE),
            *(TaskEvents(Celery("x")), self.lessons, self.histories),
        )
        cache = AnswerCache(
            ResponseCache(AbsentRedis(), ttl_s=60), Fingerprints("secret", "1", is_shared=True), "1"
        )
        self.runner = JobRunner(
            attempts,
            Planner(CATALOGUE, read_rules(), load_personas(), load_synthesis(), load_title()),
            AnswerRunner(self.model, CATALOGUE, Circuits()),
            cache,
            SingleFlight(self.flights, self.wake_ups),
            self.teams,
        )

    def run(self, message="What is a queue?", *, parked=False, attempt=1, **changes):
        """Run a new job and return its id."""
        spec = self.jobs.add(make_spec(**changes), message, was_parked=parked, attempt=attempt)
        self.runner.run(self.jobs.waiting.pop(spec.id))
        return spec.id

    def types(self, job_id):
        return [kind for kind, _ in self.jobs.logs[job_id]]

    def lead(self):
        """Let a job that is not among these lead whatever is asked next."""
        self.flights.leaders = AnyLeader()


class AnyLeader(dict):
    """Says of every question that another job leads it."""

    def setdefault(self, key, default=None):
        return "job_other"


def test_the_answer_ends_the_job_with_its_usage_cost_and_time():
    road = Road(ANSWER)

    job_id = road.run()

    status, outcome = road.jobs.ends[job_id]
    assert (status, outcome.answer.text) == (JobStatus.COMPLETED, "an answer")
    assert outcome.usage == USAGE
    assert outcome.cost_micros == outcome.agents[0].cost_micros > 0
    timing = dict(outcome.timing_ms)
    total = timing.pop("total")
    timing.pop("first_token")
    assert sum(timing.values()) == total
    assert answer_text(road.jobs.logs[job_id]) == "an answer"
    assert road.types(job_id) == [
        "job.started",
        "route.selected",
        "agent.started",
        "answer.delta",
        "answer.delta",
        "agent.completed",
    ]


def test_a_title_is_found_by_the_quickest_tier_and_teaches_nothing():
    road = Road(ANSWER)

    job_id = road.run("Question: compare two databases", title_of="plans", mode="quick")

    (asked,) = road.model.requests
    _, outcome = road.jobs.ends[job_id]
    assert asked.messages[0].content.startswith("You are Title, ")
    assert [message.role for message in asked.messages] == ["system", "user"]
    assert outcome.route.tier == "quick"
    assert [report.name for report in outcome.agents] == ["title"]
    assert road.lessons.samples == []


def test_a_repeated_question_is_answered_from_the_cache_without_a_call():
    road = Road(ANSWER)
    road.run()

    job_id = road.run()

    status, outcome = road.jobs.ends[job_id]
    assert (status, outcome.cache.status) == (JobStatus.COMPLETED, "hit")
    assert (outcome.cost_micros, outcome.answer.text) == (0, "an answer")
    assert road.types(job_id) == ["job.started", "cache.hit", "answer.delta"]
    assert len(road.model.requests) == 1


def test_a_job_that_was_parked_is_coalesced_when_it_finds_the_leaders_answer():
    road = Road(ANSWER)
    road.run()

    job_id = road.run(parked=True)

    assert road.jobs.ends[job_id][1].cache.status == "coalesced"


@pytest.mark.parametrize("mode", ["refresh", "bypass"])
def test_the_model_is_asked_again_when_the_request_wants_a_new_answer(mode):
    road = Road(ANSWER, ANSWER)
    road.run()

    job_id = road.run(cache=CacheControl(mode=mode))

    assert road.jobs.ends[job_id][1].cache.status in ("miss", "bypass")
    assert len(road.model.requests) == 2


def test_the_job_is_deferred_with_what_it_used_when_the_provider_says_later():
    road = Road([TextDelta("half an answer"), RateLimited("later", retry_after_s=30)])

    job_id = road.run()

    wait_s, reason, used = road.jobs.deferred[job_id]
    assert (wait_s, reason) == (30, "model_rate_limited")
    assert used.cost_micros > 0
    assert job_id not in road.jobs.ends
    # Whoever asks the same goes on waiting for this job.
    assert list(road.flights.kept.values()) == [30]


def test_the_job_goes_back_into_line_unbegun_when_the_budget_lets_nobody_call():
    road = Road([BudgetUsedUp(retry_after_s=7.5)])

    job_id = road.run()

    assert road.jobs.back_in_line == {job_id: (CATALOGUE.tiers["quick"], 7.5, True)}
    assert (road.types(job_id), road.jobs.ends) == ([], {})
    assert list(road.flights.kept.values()) == [7.5]


def test_a_later_attempt_says_what_became_of_the_one_before():
    road = Road(ANSWER)

    job_id = road.run(attempt=2)

    assert road.jobs.logs[job_id][:2] == [
        (event.type, event.data) for event in (job_retrying("worker_lost", 2), job_started(2))
    ]


def test_the_job_ends_with_what_there_is_when_its_user_cancels():
    road = Road()

    def cancel():
        road.keeper.cancel(job_id_of(road))
        raise TurnStopped

    road.model.calls.append([TextDelta("half"), cancel])
    job_id = road.run()

    status, outcome = road.jobs.ends[job_id]
    assert (status, outcome.answer.text) == (JobStatus.CANCELLED, "half")
    assert outcome.error.code == "cancelled"


def test_the_job_is_incomplete_when_its_deadline_passes():
    road = Road()

    def pass_deadline():
        road.keeper.stop_late()
        raise TurnStopped

    road.model.calls.append([TextDelta("half"), pass_deadline])
    job_id = road.run(allowed_ms=-1)

    status, outcome = road.jobs.ends[job_id]
    assert (status, outcome.error.code) == (JobStatus.INCOMPLETE, "deadline_exceeded")


def test_nothing_is_written_or_released_when_another_attempt_has_the_job():
    road = Road()

    def lose():
        road.jobs.hold = Hold.LOST
        road.keeper.renew()

    road.model.calls.append([TextDelta("a"), lose, TextDelta("b"), END])
    job_id = road.run()

    assert job_id not in road.jobs.ends
    assert list(road.flights.leaders.values()) == [job_id]


def test_the_job_fails_once_when_the_worker_has_a_bug():
    road = Road([ZeroDivisionError("bug")])

    job_id = road.run()

    status, outcome = road.jobs.ends[job_id]
    assert (status, outcome.error.code) == (JobStatus.FAILED, "internal_error")
    assert road.flights.leaders == {}


def test_the_job_fails_with_the_models_error_when_no_model_answers():
    road = Road([PermanentModelError("no such thing")])

    job_id = road.run()

    status, outcome = road.jobs.ends[job_id]
    assert (status, outcome.error.code) == (JobStatus.FAILED, "model_refused")
    assert road.types(job_id)[-1] == "agent.failed"


def test_the_end_waits_when_redis_is_away(monkeypatch):
    monkeypatch.setattr(workers.patience, "_RETRY_S", 0.001)
    road = Road()

    def leave():
        road.jobs.away = 3

    road.model.calls.append([TextDelta("an answer"), leave, END])
    job_id = road.run()

    assert road.jobs.ends[job_id][0] is JobStatus.COMPLETED
    assert answer_text(road.jobs.logs[job_id]) == "an answer"


def test_text_of_a_failed_call_is_void_when_the_next_call_answers():
    road = Road([TextDelta("void"), ModelTimeout()], ANSWER)

    job_id = road.run()

    assert "job.retrying" in road.types(job_id)
    assert answer_text(road.jobs.logs[job_id]) == "an answer"
    assert road.jobs.ends[job_id][1].answer.text == "an answer"


def test_a_quick_answer_that_fails_its_check_is_replaced_by_the_stronger_tier():
    road = Road([StreamEnd(finish_reason="stop", usage=USAGE)], ANSWER)

    job_id = road.run(route=RouteRequest(is_cascade=True))

    _, outcome = road.jobs.ends[job_id]
    assert [request.model for request in road.model.requests] == [
        CATALOGUE.tiers["quick"],
        CATALOGUE.tiers["standard"],
    ]
    assert outcome.route.model == CATALOGUE.tiers["standard"]
    assert "cascade: the quick answer was empty" in outcome.route.reason
    assert outcome.usage == USAGE + USAGE
    assert len(outcome.agents[0].drafts) == 1


def test_a_team_is_started_when_the_question_has_parts_for_several_agents():
    road = Road()

    road.run(team=TeamRequest(agents=("dev", "luna")))

    assert [member.agent for member in road.teams.plans[0].members] == ["dev", "luna"]
    assert road.jobs.ends == {}


def test_the_job_is_parked_without_a_call_when_another_one_asks_the_same():
    road = Road()
    road.lead()

    job_id = road.run()

    assert job_id not in road.jobs.ends
    assert [job_id] in road.flights.parked.values()
    assert (road.model.requests, road.types(job_id)) == ([], [])


def test_parked_jobs_are_released_with_the_kept_answer_when_the_leader_ends():
    road = Road()

    def park():
        road.flights.parked[next(iter(road.flights.leaders))].append("job_parked")

    road.model.calls.append([park, *ANSWER])
    road.run()

    assert road.wake_ups.sent == {"run": 1}
    assert [type(note) for note in road.flights.notes.values()] == [Kept]


@pytest.mark.parametrize(
    ("items", "note"),
    [
        ([TextDelta("cut"), StreamEnd(finish_reason="length", usage=USAGE)], Alone),
        ([PermanentModelError("no")], Failed),
        ([TurnStopped()], None),
    ],
)
def test_the_note_says_what_the_end_means_for_others(items, note):
    road = Road(items)

    road.run()

    assert [type(left) for left in road.flights.notes.values()] == [note] * (note is not None)


def test_the_leaders_failure_is_shared_when_its_note_says_so():
    road = Road()
    road.flights.notes = AnyNote(Failed("model_refused", "The provider refused."))

    job_id = road.run()

    status, outcome = road.jobs.ends[job_id]
    assert (status, outcome.error.code) == (JobStatus.FAILED, "model_refused")
    assert outcome.cache.status == "coalesced"


def test_the_job_answers_for_itself_when_the_leaders_answer_is_not_shareable():
    road = Road(ANSWER)
    road.flights.notes = AnyNote(Alone())

    job_id = road.run()

    assert road.jobs.ends[job_id][1].cache.status == "miss"
    assert road.flights.leaders == {}


class AnyNote(dict):
    """Has the same note for every question."""

    def __init__(self, note):
        super().__init__()
        self.note = note

    def __contains__(self, key):
        return True

    def __getitem__(self, key):
        return self.note


def job_id_of(road):
    """Return the id of the job that is being worked on."""
    return next(iter(road.flights.leaders.values()))
