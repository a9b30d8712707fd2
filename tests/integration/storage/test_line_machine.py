"""Whatever comes in whatever order, who is next is who a short model says.

Hypothesis chooses what users submit, what workers do, and where one of them dies: a lease that runs
out is all that anybody sees of that. Nothing is lost, nothing runs twice at a time, and somebody is
started whenever the model says that somebody may be.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core.ids import new_user_id
from core.jobs import GREATEST_PRIORITY, JobStatus
from core.outcome import Outcome, Spent
from core.plans import PLANS
from storage import keys
from storage.jobs.attempts import Attempts
from storage.jobs.lines import Lines, NobodyNext, Waiter
from storage.jobs.sweep import Sweep
from tests.acceptance import AcceptingStore
from tests.integration.storage.places import check_empty, check_lines, units_in_lines
from tests.jobs import QUESTION, ROOMY, make_spec

PLAN_OF = dict(zip(sorted(new_user_id() for _ in PLANS), PLANS, strict=True))
BEGUN = 1


class Model:
    """Who is next: `waiting` has (lane, user, key, rank, number, spec), `running` and `held` specs.

    A lane is a class and a kind. `turns` orders the keys of a line that have a unit to start.
    """

    def __init__(self):
        self.waiting, self.running, self.held = [], {}, {}
        self.shares, self.clock = {}, {"i": 0.0, "b": 0.0}
        self.turns, self.count, self.since_batch = {}, 0, 0
        #: The least share of all who could start when somebody did.
        self.least = 0.0

    def enter(self, spec, rank, number):
        lane = ("b" if spec.is_batch else "i", "quick" if spec.mode == "quick" else "run")
        key = "" if rank == BEGUN else spec.concurrency_key or ""
        self.waiting.append((lane, spec.user_id, key, rank, number, spec))
        self.settle(lane, spec.user_id, key)

    def settle(self, lane, user, key, *, is_last=False):
        """Give the key a turn where a unit of it may start, behind the others where it is new."""
        line = lane, user, key
        own = [unit for unit in self.waiting if unit[:3] == line]
        full = bool(own) and key != "" and self.is_full(own[0][5])
        if not own or full:
            self.turns.pop(line, None)
        elif is_last or line not in self.turns:
            self.count += 1
            self.turns[line] = self.count

    def is_full(self, spec):
        mine = (spec.user_id, spec.concurrency_key)
        return sum(one == mine for one in self.held.values()) >= spec.concurrency_limit

    def share(self, kind, user):
        return max(self.shares.get((kind, user), 0.0), self.clock[kind])

    def next(self, *, is_kept):
        able = [unit for unit in self.waiting if self.may_start(unit, is_kept=is_kept)]
        kinds = sorted({unit[0][0] for unit in able})
        if kinds == ["b", "i"]:
            self.since_batch += 1
            kinds = ["b"] if self.since_batch >= 20 else ["i"]
        able = [unit for unit in able if unit[0][0] in kinds]
        if not able:
            return None
        kind = kinds[0]
        open_to_all = [unit for unit in self.waiting if self.may_start(unit, is_kept=False)]
        self.least = min(self.share(kind, unit[1]) for unit in open_to_all if unit[0][0] == kind)
        user = min({unit[1] for unit in able}, key=lambda one: (self.share(kind, one), one))
        mine = [unit for unit in able if unit[1] == user]
        return min((self.first(lane, mine) for lane in {unit[0] for unit in mine}), key=by_rank)

    def first(self, lane, units):
        own = [unit for unit in units if unit[0] == lane]
        heads = [min((u for u in own if u[2] == key), key=by_rank) for key in {u[2] for u in own}]
        return min(heads, key=lambda head: (head[3], self.turns[head[:3]]))

    def may_start(self, unit, *, is_kept):
        running = sum(spec.user_id == unit[1] for spec in self.running.values())
        may_use = not is_kept or unit[0][1] == "quick" or running == 0
        return running < PLANS[PLAN_OF[unit[1]]].running and unit[:3] in self.turns and may_use

    def start(self, unit):
        (kind, _), user, key, _, _, spec = unit
        self.waiting.remove(unit)
        self.running[spec.id] = spec
        if spec.concurrency_key:
            self.held[spec.id] = user, spec.concurrency_key
        share = self.share(kind, user)
        self.clock[kind] = self.least
        self.shares[kind, user] = share + 1 / PLANS[PLAN_OF[user]].weight
        self.since_batch = 0 if kind == "b" else self.since_batch
        self.settle(unit[0], user, key, is_last=True)
        self.settle_key(spec)

    def settle_key(self, spec):
        for lane in sorted({unit[0] for unit in self.waiting}):
            if spec.concurrency_key:
                self.settle(lane, spec.user_id, spec.concurrency_key)


def by_rank(unit):
    return unit[3], unit[4]


class LineMachine(RuleBasedStateMachine):
    """Four users, one of each plan, and workers that take whatever is next."""

    def __init__(self, redis):
        super().__init__()
        redis.flushall()
        self.redis, self.model = redis, Model()
        self.store, self.attempts = AcceptingStore(redis), Attempts(redis, lease_s=60)
        self.lines, self.sweep = Lines(redis, lease_s=60), Sweep(redis, lease_s=60)
        self.claims, self.numbers, self.ended = {}, {}, set()

    @rule(
        user=st.sampled_from(sorted(PLAN_OF)),
        count=st.integers(1, 4),
        priority=st.sampled_from([5, 5, 0, 10]),
        key=st.sampled_from([None, None, "a", "b c"]),
        is_quick=st.booleans(),
        is_batch=st.booleans(),
    )
    def submit(self, user, count, priority, key, is_quick, is_batch):
        for _ in range(count):
            spec = make_spec(
                user_id=user,
                plan=PLAN_OF[user],
                priority=priority,
                concurrency_key=key,
                mode="quick" if is_quick else "optimized",
                is_batch=is_batch,
            )
            self.store.accept(spec, QUESTION, ROOMY, None)
            assert self.lines.enter([spec]).unwoken == 1
            assert self.lines.enter([spec]).unwoken == 0
            self.numbers[spec.id] = len(self.numbers)
            self.model.enter(spec, 2 + GREATEST_PRIORITY - priority, self.numbers[spec.id])

    @rule(count=st.integers(1, 6), is_kept=st.booleans())
    def claim(self, count, is_kept):
        for _ in range(count):
            expected = self.model.next(is_kept=is_kept)
            found = self.lines.claim_next(Waiter(name="thread", is_kept=is_kept))
            if expected is None:
                assert isinstance(found, NobodyNext)
                return
            assert found.job_id == expected[5].id
            self.model.start(expected)
            self.claims[found.job_id] = found

    @rule(data=st.data())
    def finish(self, data):
        claim = self.choose(data)
        if claim is not None:
            assert self.attempts.finish(claim, JobStatus.COMPLETED, Outcome())
            self.ended.add(claim.job_id)
            self.model.held.pop(claim.job_id, None)
            self.model.settle_key(claim.spec)

    @rule(data=st.data())
    def come_back(self, data):
        claim = self.choose(data)
        if claim is not None:
            assert self.attempts.defer(claim, 0.0, reason="busy", used=Spent())
            self.redis.zadd(keys.DEFERRED, {claim.job_id: 1})
            self.lines.enter_due(most=1)
            self.model.enter(claim.spec, BEGUN, self.numbers[claim.job_id])

    @rule(data=st.data())
    def kill_the_worker(self, data):
        claim = self.choose(data)
        if claim is not None and claim.attempt < 3:
            self.redis.hset(keys.job(claim.job_id), "lease", 1)
            assert self.sweep.release(claim.job_id) == (True, 1)
            self.model.enter(claim.spec, BEGUN, self.numbers[claim.job_id])
        elif claim is not None:
            self.claims[claim.job_id] = claim
            self.model.running[claim.job_id] = claim.spec

    def choose(self, data):
        """Take one of the claims from the worker that has it."""
        if not self.claims:
            return None
        job_id = list(self.claims)[data.draw(st.integers(0, len(self.claims) - 1))]
        del self.model.running[job_id]
        return self.claims.pop(job_id)

    @invariant()
    def nothing_is_lost(self):
        check_lines(self.redis)
        standing = {unit[5].id for unit in self.model.waiting}
        assert set(units_in_lines(self.redis)) == standing
        assert standing | set(self.claims) | self.ended == set(self.numbers)
        if len(self.ended) == len(self.numbers):
            check_empty(self.redis)


@pytest.mark.parametrize(
    ("examples", "is_same_each_time"),
    [(60, True), pytest.param(600, False, marks=pytest.mark.long)],
)
def test_who_is_next_is_who_the_model_says(examples, is_same_each_time, redis_client):
    run_state_machine_as_test(
        lambda: LineMachine(redis_client),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=is_same_each_time,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
