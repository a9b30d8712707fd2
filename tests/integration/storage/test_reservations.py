"""Reservations grow under the fence of the turn that needs more, and never beyond a budget."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.budgets import Budget
from core.events import answer_delta
from core.ids import new_user_id
from core.jobs import JobStatus, RouteRequest, TeamRequest
from core.lessons import NOTHING_LEARNED, CallSample, to_lesson
from core.outcome import Outcome, Spent
from storage import keys
from storage.jobs.claims import Batch, Hold
from storage.limits.lessons import Lessons
from tests.fakes import AbsentRedis
from tests.jobs import QUESTION, ROOMY, make_spec

TIGHT = replace(ROOMY, monthly_budget_micros=100)


@pytest.fixture
def claimed(store, attempts):
    """Return what takes a job in and claims it."""

    def claimed(plan=ROOMY, **changes):
        spec = make_spec(**({"reserved_micros": 50} | changes))
        store.accept(spec, QUESTION, plan, None)
        return attempts.claim(spec.id)

    return claimed


def append(attempts, claim, number, wanted):
    batch = Batch([answer_delta("dev", "word ")], number, wanted)
    return attempts.append([(claim, batch)])[0]


def held(redis_client, claim):
    job = redis_client.hget(keys.job(claim.job_id), "reserved")
    month = redis_client.hget(keys.spend(claim.spec.user_id, claim.spec.created_ms), "reserved")
    assert job == month
    return int(job)


def test_more_is_held_with_the_text_that_needs_it(claimed, attempts, redis_client):
    claim = claimed()

    assert append(attempts, claim, 1, 80) is Hold.HELD

    assert held(redis_client, claim) == 80


def test_nothing_more_is_held_when_a_batch_is_sent_again(claimed, attempts, redis_client, log):
    claim = claimed()
    append(attempts, claim, 1, 80)

    assert append(attempts, claim, 1, 80) is Hold.HELD

    assert held(redis_client, claim) == 80
    assert [e.type for e in log.read(claim.job_id, after=0)].count("answer.delta") == 1


def test_the_text_is_kept_when_no_more_can_be_held(claimed, attempts, redis_client, log):
    claim = claimed(TIGHT)

    assert append(attempts, claim, 1, 101) is Hold.UNFUNDED

    assert held(redis_client, claim) == 50
    assert log.read(claim.job_id, after=0)[-1].type == "answer.delta"


def test_a_lost_attempt_holds_no_more(claimed, attempts, redis_client):
    claim = claimed()

    assert append(attempts, replace(claim, fence="another"), 1, 80) is Hold.LOST
    assert attempts.extend(replace(claim, fence="another"), 80) == "lost"

    assert held(redis_client, claim) == 50


def test_a_call_waits_when_other_jobs_hold_what_it_needs(claimed, attempts, store):
    user_id = new_user_id()
    claim = claimed(TIGHT, user_id=user_id)
    other = claimed(TIGHT, user_id=user_id)

    assert attempts.extend(claim, 60) == "busy"
    assert attempts.extend(claim, 101) == "gone"
    attempts.finish(other, JobStatus.COMPLETED, Outcome())
    assert attempts.extend(claim, 60) == "held"


def test_every_budget_of_a_job_bounds_it(claimed, attempts, redis_client):
    budgets = (Budget("user", 1_000), Budget("day", 70))
    claim = claimed(budgets=budgets)

    assert attempts.extend(claim, 70) == "held"
    assert attempts.extend(claim, 71) == "gone"

    day = keys.budget_of("day", claim.spec.user_id, None, claim.spec.created_ms)
    attempts.finish(claim, JobStatus.COMPLETED, Outcome(cost_micros=65))
    assert redis_client.hmget(day, "reserved", "spent") == [b"0", b"65"]


def test_a_jobs_own_limit_bounds_what_is_held(claimed, attempts):
    claim = claimed(route=RouteRequest(max_cost_micros=60))

    assert attempts.extend(claim, 60) == "held"
    assert attempts.extend(claim, 61) == "gone"


def test_the_next_attempt_knows_what_is_held_and_paid(claimed, attempts):
    claim = claimed()
    attempts.extend(claim, 80)
    attempts.defer(claim, 0.0, reason="rate_limited", used=Spent(cost_micros=12))

    again = attempts.claim(claim.job_id)

    assert (again.held_micros, again.granted_micros, again.paid_micros) == (50, 80, 12)


def test_a_teams_reservation_is_held_in_equal_shares(claimed):
    team = TeamRequest(agents=("dev", "luna"))

    assert claimed(team=team, reserved_micros=90).granted_micros == 30


def sample(user_id, tokens, **changes):
    fields = {
        "user_id": user_id,
        "model": "m",
        "prompt_chars": 1_000,
        "input_tokens": 250,
        "text_chars": tokens * 4,
        "text_tokens": tokens,
    }
    return CallSample(**(fields | changes))


def test_lengths_of_answers_are_learned_of_a_user_and_of_all(redis_client):
    user_id, other = new_user_id(), new_user_id()
    lessons = Lessons(redis_client, ["m"])
    for tokens in (100, 200, 300) * 5:
        lessons.add(sample(user_id, tokens))
        lessons.add(sample(other, tokens * 10, hidden_tokens=500))
    lessons.flush()

    own = to_lesson(redis_client.hget(keys.learned_of_user(user_id), "m"))
    of_all = lessons.of_all("m")

    assert own.text_tokens == pytest.approx(200, rel=0.1)
    assert own.hidden_tokens == 0
    assert (own.input_per_char, own.text_per_char) == (0.25, 0.25)
    assert 250 < of_all.text_tokens <= 1_100
    assert of_all.hidden_tokens == pytest.approx(500, rel=0.1)


def test_too_few_calls_teach_nothing(redis_client):
    lessons = Lessons(redis_client, ["m"])
    for _ in range(7):
        lessons.add(sample(new_user_id(), 5))
    lessons.flush()

    assert lessons.of_all("m") == NOTHING_LEARNED


def test_what_is_old_weighs_less(redis_client):
    user_id, lessons = new_user_id(), Lessons(redis_client, ["m"])
    for tokens in (100, 1_000):
        for _ in range(10):
            for _ in range(40):
                lessons.add(sample(user_id, tokens))
            lessons.flush()

    assert lessons.of_all("m").text_tokens == pytest.approx(1_000, rel=0.1)


def test_nothing_is_known_while_redis_is_away():
    assert Lessons(AbsentRedis(), ["m"]).of_all("m") == NOTHING_LEARNED
