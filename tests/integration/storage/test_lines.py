"""Who is next: the order in which work starts, of one user and between users."""

from __future__ import annotations

from collections import Counter

import pytest

from core.events import ANSWER_DELTA, NewEvent
from core.ids import new_user_id
from core.jobs import NO_PLACE, JobStatus, TeamRequest
from core.outcome import Outcome, Spent
from core.plans import PLANS
from core.team import Member, Slot, TeamPlan
from core.timing import now_ms
from storage import keys
from storage.jobs.claims import Batch
from storage.jobs.lines import NobodyNext, Waiter
from storage.jobs.teams import SlotClaim
from storage.limits.upstream_budget import UpstreamBudget
from tests.integration.storage.test_team_scripts import reply_of
from tests.jobs import QUESTION, ROOMY, make_spec

THREAD = Waiter(name="thread")
KEPT = Waiter(name="thread", is_kept=True)
#: In this order where nothing else decides.
ANN, BOB = sorted(new_user_id() for _ in range(2))


@pytest.fixture
def put(store, lines):
    """Return what lets a new job of a user wait for its turn."""

    def put(user_id=ANN, **changes):
        spec = make_spec(user_id=user_id, **changes)
        store.accept(spec, QUESTION, ROOMY, None)
        lines.enter([spec])
        return spec

    return put


@pytest.fixture
def start(lines):
    """Return what starts the next unit and returns its claim; None when nobody may start."""

    def start(waiter=THREAD):
        found = lines.claim_next(waiter)
        if isinstance(found, NobodyNext):
            return None
        return found.claim if isinstance(found, SlotClaim) else found

    return start


@pytest.fixture
def starts(start):
    """Return what starts so many units and returns whose they are."""

    def starts(count):
        return [claim.spec.user_id for _ in range(count) if (claim := start())]

    return starts


def end(attempts, claim):
    assert attempts.finish(claim, JobStatus.COMPLETED, Outcome())


def test_jobs_of_one_user_start_in_the_order_in_which_they_came(put, start):
    specs = [put() for _ in range(5)]

    assert [start().job_id for _ in specs] == [spec.id for spec in specs]
    assert start() is None


def test_a_job_that_enters_twice_starts_once(put, lines, start):
    spec = put()

    assert lines.enter([spec]).unwoken == 0

    assert start().job_id == spec.id
    assert start() is None


def test_users_take_turns_whoever_came_first(put, starts):
    for _ in range(50):
        put(ANN)
    starts(3)
    put(BOB)
    put(BOB)

    # Whoever comes has as much behind him as the one who started last, and no more.
    assert starts(4).index(BOB) <= 1
    assert Counter(starts(2))[BOB] <= 1


def test_a_new_user_is_among_the_next_of_many(put, starts):
    others = [new_user_id() for _ in range(10)]
    for user_id in others:
        for _ in range(5):
            put(user_id)
    starts(23)

    put(BOB)

    assert BOB in starts(len(others) + 1)


def test_starts_follow_the_weights_of_the_plans(put, starts):
    for _ in range(40):
        put(ANN, plan="trial", allowed_ms=1_000)
        put(BOB, plan="pro")

    # trial 1, pro 4
    assert Counter(starts(25)) == {ANN: 5, BOB: 20}


def test_nobody_saves_starts_up_while_nothing_of_his_waits(put, starts, start, attempts):
    put(BOB)
    start()
    for _ in range(20):
        put(ANN)
    starts(10)
    for _ in range(10):
        put(BOB)

    assert Counter(starts(10)) == {ANN: 5, BOB: 5}


def test_priority_orders_the_jobs_of_its_user_alone(put, start):
    late, early = put(ANN, priority=0), put(ANN, priority=10)
    others = put(BOB, priority=0)
    between = put(ANN)

    found = [start().job_id for _ in range(4)]

    assert [job_id for job_id in found if job_id != others.id] == [early.id, between.id, late.id]
    assert others.id in found[:2]


def test_no_more_runs_of_a_user_than_the_plan_allows(put, start, attempts):
    most = PLANS["trial"].running
    for _ in range(most + 2):
        put(ANN, plan="trial")
    running = [start() for _ in range(most)]
    assert start() is None

    end(attempts, running[2])

    assert start() is not None
    assert start() is None


def test_keys_take_turns_and_one_at_its_limit_waits(put, start, attempts):
    a1, a2 = put(concurrency_key="a"), put(concurrency_key="a")
    b1, b2 = put(concurrency_key="b b"), put(concurrency_key="b b")
    free = put()

    first, second, third = start(), start(), start()

    assert [first.job_id, second.job_id, third.job_id] == [a1.id, b1.id, free.id]
    assert start() is None
    end(attempts, second)
    assert start().job_id == b2.id
    end(attempts, first)
    assert start().job_id == a2.id


def test_a_limit_lets_so_many_of_a_key_run(put, start):
    for _ in range(5):
        put(concurrency_key="a", concurrency_limit=3)

    assert [start() is not None for _ in range(4)] == [True, True, True, False]


def test_a_job_holds_its_key_while_it_is_deferred(put, start, attempts):
    first, second = put(concurrency_key="talk"), put(concurrency_key="talk")
    attempts.defer(start(), 60.0, reason="busy", used=Spent())

    assert start() is None
    end(attempts, attempts.claim(first.id))
    assert start().job_id == second.id


def test_a_batch_gets_every_twentieth_start_of_those_who_wait(put, starts):
    for _ in range(100):
        put(ANN)
        put(BOB, is_batch=True)

    assert Counter(starts(100)) == {ANN: 95, BOB: 5}


def test_batches_start_at_once_where_nobody_else_waits(put, starts):
    for _ in range(3):
        put(BOB, is_batch=True)

    assert starts(3) == [BOB] * 3


def test_kept_threads_take_quick_jobs_and_whoever_has_nothing_running(put, start):
    put(ANN), put(ANN)
    quick = put(ANN, mode="quick")
    start()
    bobs = put(BOB)

    found = [start(KEPT) for _ in range(3)]

    assert {claim.job_id for claim in found if claim} == {quick.id, bobs.id}
    assert found[2] is None
    assert start() is not None


def test_who_cannot_use_a_kept_thread_keeps_what_he_is_owed(put, start, starts, attempts):
    for user_id in [ANN] * 6 + [BOB] * 6:
        put(user_id)
    assert start().spec.user_id == ANN
    for _ in range(4):
        claim = start(KEPT)
        assert claim.spec.user_id == BOB
        end(attempts, claim)

    assert starts(5) == [ANN, ANN, ANN, ANN, BOB]


def test_a_job_waits_outside_the_lines_until_its_time(put, start, lines, redis_client):
    later = put(run_at_ms=now_ms() + 60_000)
    assert start() is None
    assert lines.enter_due(most=10) == (0, 0)

    redis_client.zadd(keys.DEFERRED, {later.id: 1})

    assert lines.enter_due(most=10) == (1, 1)
    assert start().job_id == later.id


def test_a_job_that_has_expired_does_not_start(put, start, sweep):
    put(expires_at_ms=now_ms() - 1)
    other = put()

    assert start().job_id == other.id
    assert start() is None
    assert len(sweep.expired(now_ms(), most=10)) == 1


def test_a_job_that_has_begun_does_not_expire(put, start, sweep):
    put(expires_at_ms=now_ms() + 60_000)
    start()

    assert sweep.expired(now_ms() + 120_000, most=10) == []


def test_the_deadline_runs_from_the_first_start(put, start, attempts):
    spec = put(allowed_ms=7_000, created_ms=now_ms() - 3_600_000)
    before_ms = now_ms()
    claim = start()
    assert before_ms + 7_000 <= claim.deadline_ms

    attempts.defer(claim, 0.0, reason="busy", used=Spent())

    assert attempts.claim(spec.id).deadline_ms == claim.deadline_ms


def team_of(*agents):
    members = tuple(Member(agent=name, tier="quick", model="m", reason="r") for name in agents)
    return TeamPlan(members=members, reason="r", rounds=1, quorum=1, started_ms=1, timing_ms={})


def test_a_team_stands_in_the_line_of_its_user_and_its_end_comes_first(
    put, start, teams, attempts, lines
):
    spec = put(ANN, team=TeamRequest())
    slots = [Slot(1, name) for name in ("dev", "luna")]
    teams.start_round(start(), team_of("dev", "luna"), slots, deadline_ms=now_ms() + 60_000)
    fresh, others = put(ANN, priority=10), put(BOB)

    found = [lines.claim_next(THREAD) for _ in range(3)]
    held = [one for one in found if isinstance(one, SlotClaim)]
    assert sorted(one.slot.agent for one in held) == ["dev", "luna"]
    assert [one.job_id for one in found if not isinstance(one, SlotClaim)] == [others.id]
    for one in held:
        teams.report(one, reply_of(one.slot))

    last = lines.claim_next(THREAD)
    assert (last.slot.is_end, last.claim.job_id) == (True, spec.id)
    assert start().job_id == fresh.id


def test_what_a_killed_worker_held_is_next_of_its_user(put, start, sweep, redis_client):
    lost, _other = put(), put()
    start()
    redis_client.hset(keys.job(lost.id), "lease", 1)

    assert sweep.release(lost.id) == (True, 1)

    again = start()
    assert (again.job_id, again.attempt) == (lost.id, 2)


def test_nothing_new_begins_while_the_stack_drains(put, start, lines, redis_client):
    put()
    redis_client.set(keys.DRAIN, 1)

    assert start() is None
    assert lines.count_ready(most=10) == {}


def test_threads_that_wait_are_woken_by_the_bell_and_others_by_messages(
    put, store, lines, redis_client
):
    for name in ("one", "two"):
        assert isinstance(lines.claim_next(Waiter(name=name, wait_s=60.0)), NobodyNext)
    specs = [make_spec() for _ in range(5)]
    for spec in specs:
        store.accept(spec, QUESTION, ROOMY, None)

    assert lines.enter(specs).unwoken == 3

    assert redis_client.llen(f"{keys.LINES}bell") == 2
    lines.wait_for_bell(0.1)
    assert redis_client.llen(f"{keys.LINES}bell") == 1


def test_a_thread_that_was_served_is_woken_no_more(put, lines, redis_client):
    lines.claim_next(Waiter(name="one", wait_s=60.0))
    put()
    redis_client.delete(f"{keys.LINES}bell")

    lines.claim_next(Waiter(name="one", has_waited=True))

    assert redis_client.zcard(f"{keys.LINES}waiters") == 0


def test_a_job_knows_how_many_of_its_user_are_before_it(put, lines, start, store):
    first, second = put(), put()
    put(BOB)
    third, urgent = put(concurrency_key="a"), put(priority=10)

    assert [lines.place_of(spec.id).position for spec in (first, second, third, urgent)] == [
        2,
        3,
        4,
        1,
    ]
    assert lines.place_of(first.id).estimated_start_s is None
    assert start().job_id == urgent.id
    assert lines.place_of(urgent.id) == NO_PLACE
    assert (
        0 < lines.place_of(first.id).estimated_start_s < lines.place_of(third.id).estimated_start_s
    )


def test_a_job_whose_key_is_at_its_limit_knows_how_many_are_before_it(put, lines, start):
    specs = [put(concurrency_key="talk") for _ in range(4)]
    start()

    assert [lines.place_of(spec.id).position for spec in specs] == [None, 1, 2, 3]


def test_a_job_that_waits_for_its_time_knows_when_it_starts(put, lines):
    spec = put(run_at_ms=now_ms() + 60_000)

    place = lines.place_of(spec.id)

    assert place.position is None
    assert 0 < place.estimated_start_s <= 60


def test_a_job_that_is_withdrawn_gives_its_key_free(put, start, store, attempts):
    first, second = put(concurrency_key="a"), put(concurrency_key="a")
    put_back = {"is_unbegun": True, "used": Spent()}
    assert attempts.put_back(start(), "m", 0.0, **put_back)

    assert store.withdraw(first)

    assert start().job_id == second.id


def test_a_job_of_which_something_was_shown_keeps_its_time(put, start, store, attempts, lines):
    put(expires_at_ms=now_ms() + 60_000)
    claim = start()
    attempts.append([(claim, Batch([NewEvent(ANSWER_DELTA, {"text": "word"})], 1))])
    assert attempts.defer(claim, 0.0, reason="busy", used=Spent())
    lines.enter_due(most=1)
    put_back = {"is_unbegun": True, "used": Spent()}

    assert attempts.put_back(start(), "m", 0.0, **put_back)

    assert store.get(claim.job_id).started_ms is not None


# The provider's budget


@pytest.fixture
def budget(redis_client):
    return UpstreamBudget(redis_client, requests_per_minute=30, tokens_per_minute=None)


@pytest.fixture
def call(budget, attempts):
    """Return what calls the model in a claim, or puts the job back; says whether it called."""

    def call(claim):
        wait_s = budget.book("m", claim.work_id, tokens=1, longest_wait_s=1.0)
        if wait_s == 0:
            return True
        assert not 0 < wait_s <= 1
        put_back = {"is_unbegun": True, "used": Spent()}
        assert attempts.put_back(claim, "m", max(0.0, wait_s), **put_back)
        return False

    return call


def open_model(redis_client):
    """Let time pass until the budget grants another call."""
    redis_client.hdel(f"{keys.LINES}closed", "m")
    granted = float(redis_client.hget(keys.budget("m"), "requests:granted"))
    redis_client.hset(keys.budget("m"), "requests:granted", granted + 1)


def test_a_user_with_a_pile_does_not_keep_another_from_the_provider(put, start, call, redis_client):
    for _ in range(40):
        put(ANN)
    called = [claim.spec.user_id for _ in range(40) if (claim := start()) and call(claim)]
    assert called == [ANN] * 3
    put(BOB)
    assert not call(start())

    next_calls = []
    while len(next_calls) < 3:
        open_model(redis_client)
        claim = start()
        if call(claim):
            next_calls.append(claim.spec.user_id)

    assert BOB in next_calls


def test_nobody_starts_who_waits_for_a_closed_model(put, start, call, lines, redis_client):
    for _ in range(5):
        put(ANN)
    while (claim := start()) is not None:
        call(claim)

    nobody = lines.claim_next(THREAD)

    assert 0 < nobody.opens_in_s <= 10
    put(BOB)
    assert start() is not None


def test_a_job_that_was_put_back_has_lost_neither_its_turn_nor_its_time(
    put, start, call, store, attempts, redis_client
):
    specs = [put(ANN, expires_at_ms=now_ms() + 60_000) for _ in range(5)]
    claims = [start() for _ in specs]
    done = [call(claim) for claim in claims]

    assert done == [True, True, True, False, False]
    job = store.get(specs[3].id)
    assert (job.status, job.attempt, job.started_ms) == (JobStatus.QUEUED, 0, None)
    assert redis_client.zscore(keys.EXPIRING, specs[3].id) == specs[3].expires_at_ms
    open_model(redis_client)
    again = start()
    assert (again.job_id, again.attempt) == (specs[3].id, 1)
