"""Windows, unfinished jobs, budgets: what is taken in, and which limit refuses the rest."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from core.budgets import Budget, KeyLimits
from core.chat import Usage
from core.errors import SumsUnknown
from core.ids import new_user_id
from core.jobs import JobStatus
from core.limit_errors import (
    BudgetBusy,
    BudgetExhausted,
    RateLimitExceeded,
    TooManyJobs,
    TooManyTries,
)
from core.outcome import Outcome
from core.plans import PLANS
from storage import keys
from storage.jobs.acceptance import Acceptance, Applicant, IdempotencyClaim
from storage.jobs.recovery import Recovery
from storage.limits.throttle import Bound, Throttle
from tests.jobs import QUESTION, ROOMY, make_spec

NARROW = replace(ROOMY, requests_per_minute=3)


def lefts(accepted):
    return {window.name: window.left for window in accepted.windows}


@pytest.fixture
def user(redis_client):
    """A user whose month has paid nothing, as is known."""
    user_id = new_user_id()
    Recovery(redis_client).know_spent(keys.spend(user_id, now_ms()), 0)
    return user_id


@pytest.fixture
def take(redis_client, user):
    """Return what takes a job of the user in."""

    def take(plan=ROOMY, claim=None, key_limits=None, **changes):
        spec = make_spec(user_id=user, **changes)
        limits = {"key_limits": key_limits} if key_limits else {}
        return Acceptance(redis_client).accept(spec, QUESTION, plan, claim, **limits)

    return take


def now_ms():
    return int(time.time() * 1000)


def let_pass(redis_client, owner, window, *, part_s, parts, but):
    """Let all but the first `but` of the parts of a window's length pass since it was counted."""
    at = int(redis_client.hget(owner, f"{window}:at"))
    count = int(redis_client.hget(owner, f"{window}:sum"))
    then = int(time.time() // part_s) - parts + but
    redis_client.hdel(owner, f"{window}:{at % (parts + 1)}")
    redis_client.hset(
        owner, mapping={f"{window}:at": then, f"{window}:{then % (parts + 1)}": count}
    )


def test_no_more_is_taken_in_than_the_window_allows(take):
    left = [lefts(take(NARROW))["requests_per_minute"] for _ in range(3)]

    with pytest.raises(RateLimitExceeded) as refused:
        take(NARROW)

    assert left == [2, 1, 0]
    assert refused.value.limit == "requests_per_minute"
    assert 1 <= refused.value.retry_after_s <= 65
    assert refused.value.resets_at is not None


def test_nothing_is_counted_when_a_job_is_refused(take, redis_client, user):
    for _ in range(3):
        take(NARROW)
    with pytest.raises(RateLimitExceeded):
        take(NARROW)

    assert redis_client.hget(keys.rates(user), "requests_per_minute:sum") == b"3"
    assert redis_client.zcard(keys.active(user)) == 3


def test_a_window_has_room_again_when_its_part_has_left_it(take, redis_client, user):
    for _ in range(3):
        take(NARROW)
    let_pass(redis_client, keys.rates(user), "requests_per_minute", part_s=5, parts=12, but=-1)

    assert lefts(take(NARROW))["requests_per_minute"] == 2


def test_a_part_counts_as_long_as_any_of_it_is_in_the_window(take, redis_client, user):
    for _ in range(3):
        take(NARROW)
    let_pass(redis_client, keys.rates(user), "requests_per_minute", part_s=5, parts=12, but=1)

    with pytest.raises(RateLimitExceeded):
        take(NARROW)


def test_a_repeat_is_answered_and_not_counted_when_the_window_is_full(take):
    claim = IdempotencyClaim("key", "body")
    first = take(NARROW, claim)
    take(NARROW)
    take(NARROW)

    assert take(NARROW, claim).job_id == first.job_id


def test_bytes_of_questions_are_bounded(take):
    plan = replace(ROOMY, bytes_per_hour=1_000)

    left = lefts(take(plan))["bytes_per_hour"]

    with pytest.raises(RateLimitExceeded) as refused:
        take(plan, metadata={"text": "x" * 512})

    assert 0 < left < 900
    assert refused.value.limit == "bytes_per_hour"


def test_tokens_of_ended_jobs_are_bounded(take, attempts, redis_client, user):
    plan = replace(ROOMY, tokens_per_day=15)
    claim = attempts.claim(take(plan).job_id)
    attempts.finish(claim, JobStatus.COMPLETED, Outcome(usage=Usage(10, 0, 5)))

    with pytest.raises(RateLimitExceeded) as refused:
        take(plan)

    assert refused.value.limit == "tokens_per_day"


def test_an_api_key_has_a_window_of_its_own(take):
    limits = KeyLimits(requests_per_minute=1)
    take(api_key_id="key_1", key_limits=limits)

    with pytest.raises(RateLimitExceeded):
        take(api_key_id="key_1", key_limits=limits)

    assert take(api_key_id="key_2", key_limits=limits)


def test_a_team_counts_as_its_agents(take, redis_client, user):
    plan = replace(ROOMY, unfinished=5)
    take(plan, units=4)

    with pytest.raises(TooManyJobs) as refused:
        take(plan, units=2)

    assert refused.value.limit == "unfinished"
    assert redis_client.zcard(keys.active(user)) == 4
    assert take(plan, units=1)


def test_exactly_as_many_are_unfinished_as_allowed_when_a_hundred_come_at_once(
    take, redis_client, user
):
    def try_to_take(_):
        try:
            return take(PLANS["trial"])
        except TooManyJobs:
            return None

    with ThreadPoolExecutor(32) as pool:
        taken = list(filter(None, pool.map(try_to_take, range(100))))

    assert len(taken) == redis_client.zcard(keys.active(user)) == 10


def test_everything_a_team_counted_for_is_free_when_it_ends(take, attempts, redis_client, user):
    accepted = take(units=4)

    assert attempts.finish(attempts.claim(accepted.job_id), JobStatus.COMPLETED, Outcome())

    assert redis_client.zcard(keys.active(user)) == 0


def test_what_the_version_before_left_of_a_team_that_ended_counts_no_more(take, redis_client, user):
    plan = replace(ROOMY, unfinished=4)
    accepted = take(plan, units=4)
    # It knew the job's own entry only.
    redis_client.hset(keys.job(accepted.job_id), "status", "completed")
    redis_client.zrem(keys.active(user), accepted.job_id)
    who = Applicant(user_id=user, plan=plan, budgets=(), units=2)

    Acceptance(redis_client).admit(who, now_ms(), ["m"], None)

    assert take(plan, units=4)


def test_whoever_is_at_a_limit_is_refused_before_his_question_is_looked_at(
    take, redis_client, user
):
    for _ in range(3):
        take(NARROW)
    who = Applicant(user_id=user, plan=NARROW, budgets=())

    with pytest.raises(RateLimitExceeded):
        Acceptance(redis_client).admit(who, now_ms(), ["m"], None)


def test_whose_budget_is_spent_is_refused_before_his_question_is_looked_at(redis_client, user):
    redis_client.hset(keys.spend(user, now_ms()), "spent", 100)
    who = Applicant(user_id=user, plan=ROOMY, budgets=(Budget("user", 100),))

    with pytest.raises(BudgetExhausted) as refused:
        Acceptance(redis_client).admit(who, now_ms(), ["m"], None)

    assert refused.value.limit == "monthly_budget"
    assert refused.value.resets_at is not None


@pytest.mark.parametrize(
    ("scope", "limit"),
    [
        ("user", "monthly_budget"),
        ("key", "key_monthly_budget"),
        ("month", "deployment_monthly_budget"),
        ("day", "deployment_daily_budget"),
    ],
)
def test_the_budget_that_binds_is_named(scope, limit, take, redis_client, user):
    others = [Budget(name, 10_000) for name in ("user", "key", "month", "day") if name != scope]
    budgets = (*others, Budget(scope, 100))
    for budget in budgets:
        name = keys.budget_of(budget.scope, user, "key_1", now_ms())
        redis_client.hset(name, mapping={"spent": 80, "known": 1})

    with pytest.raises(BudgetExhausted) as refused:
        take(budgets=budgets, api_key_id="key_1", reserved_micros=50, least_micros=30)

    assert refused.value.limit == limit


def test_a_job_has_to_wait_when_others_hold_what_it_needs(take):
    plan = replace(ROOMY, monthly_budget_micros=100)
    take(plan, reserved_micros=60, least_micros=1)

    with pytest.raises(BudgetBusy):
        take(plan, reserved_micros=60, least_micros=1)


def test_a_job_gets_what_is_left_when_nothing_else_runs(take, redis_client, user):
    plan = replace(ROOMY, monthly_budget_micros=100)
    redis_client.hset(keys.spend(user, now_ms()), "spent", 70)

    accepted = take(plan, reserved_micros=60, least_micros=10)

    assert redis_client.hget(keys.job(accepted.job_id), "reserved") == b"30"
    assert redis_client.hget(keys.spend(user, now_ms()), "reserved") == b"30"


def test_nothing_is_taken_in_when_it_is_not_known_what_was_paid(redis_client):
    spec = make_spec()

    with pytest.raises(SumsUnknown):
        Acceptance(redis_client).accept(spec, QUESTION, ROOMY, None)

    assert redis_client.keys("*") == []


def test_what_was_paid_is_noted_once(redis_client, user):
    recovery, name = Recovery(redis_client), keys.spend(new_user_id(), now_ms())

    recovery.know_spent(name, 30)
    recovery.know_spent(name, 50)

    assert redis_client.hget(name, "spent") == b"30"


def test_strangers_are_refused_when_they_have_tried_too_often(redis_client):
    throttle = Throttle(redis_client)
    bounds = [Bound("failed_logins", ("account", "a@b.io"), 2)]
    throttle.count(bounds)
    throttle.require(bounds)
    throttle.count(bounds)

    with pytest.raises(TooManyTries) as refused:
        throttle.require(bounds)

    assert 1 <= refused.value.retry_after_s <= 960
    assert b"a@b.io" not in b"".join(redis_client.keys("*"))
