"""Whatever happens in whatever order, a job and its user's month are charged what all calls cost.

Hypothesis chooses what workers, sweepers and users do with jobs of one agent and of a team. A call
counts when the script took its report, its deferral or its end; what a refused write had cost died
with its attempt.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core.chat import Usage
from core.errors import JobAlreadyFinished, SlotUnavailable
from core.events import answer_delta
from core.ids import new_user_id
from core.jobs import TERMINAL, TeamRequest
from core.outcome import AgentReport, Outcome, Savings, Spent
from core.team import Member, MemberReply, Slot, TeamPlan, end_of
from storage import keys
from storage.jobs.cancellation import Cancellation
from storage.jobs.claims import Batch, Hold
from storage.jobs.sweep import Sweep
from storage.limits.single_flight import SingleFlight
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts, ClaimingTeams
from tests.jobs import QUESTION, ROOMY, make_spec

RESERVED = 50
SAVED = 5
MOST_JOBS = 3
AGENTS = ("dev", "luna")
ROUNDS = (1, 2)
SLOTS = [Slot(number, name) for number in ROUNDS for name in AGENTS] + [end_of(n) for n in ROUNDS]
PLAN = TeamPlan(
    members=tuple(Member(agent=name, tier="quick", model="m", reason="r") for name in AGENTS),
    reason="r",
    rounds=len(ROUNDS),
    quorum=1,
    started_ms=1,
    timing_ms={},
)
TOKENS = st.integers(0, 9)
USAGES = st.builds(lambda i, cached, o: Usage(i, min(cached, i), o), TOKENS, TOKENS, TOKENS)
CALLS = st.builds(Spent, USAGES, st.integers(0, 90))
ENDS = st.sampled_from(sorted(TERMINAL))


class MoneyMachine(RuleBasedStateMachine):
    """One user's jobs, and every claim to them, good ones and those that are long void."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")
    slot_claims = Bundle("slot_claims")

    def __init__(self, redis):
        super().__init__()
        redis.flushall()
        self.redis = redis
        self.store = AcceptingStore(redis)
        self.attempts, self.teams = ClaimingAttempts(redis), ClaimingTeams(redis)
        self.teams.claims = self.attempts.claims
        self.sweep = Sweep(redis, lease_s=60)
        self.cancellation = Cancellation(self.store, self.sweep, self.attempts, self.teams)
        self.single_flight = SingleFlight(redis, 60)
        self.user_id = new_user_id()
        #: Of each job what its calls used, what is held for it, and of each turn that has more than
        #: its share how much that is.
        self.used, self.held, self.granted = {}, {}, {}

    @precondition(lambda self: len(self.used) < MOST_JOBS)
    @rule(target=jobs, is_team=st.booleans())
    def accept(self, is_team):
        team = TeamRequest() if is_team else None
        spec = make_spec(user_id=self.user_id, reserved_micros=RESERVED, team=team)
        self.store.accept(spec, QUESTION, ROOMY, None)
        self.spec = spec
        self.used[spec.id], self.held[spec.id] = Spent(), RESERVED
        return spec.id

    # Workers

    @rule(target=claims, job_id=jobs)
    def claim(self, job_id):
        return some(self.attempts.claim(job_id))

    @rule(claim=claims, wanted=st.integers(1, 300), is_repeated=st.booleans())
    def hold_more(self, claim, wanted, is_repeated):
        """Ask for money before a call; a repeat is one whose answer was lost."""
        for _ in range(1 + is_repeated):
            self.count_held(claim, wanted, self.attempts.extend(claim, wanted) == "held")

    @rule(slot_claim=slot_claims, wanted=st.integers(1, 300))
    def hold_more_for_a_slot(self, slot_claim, wanted):
        self.hold_more(slot_claim.claim, wanted, is_repeated=False)

    @rule(claim=claims, wanted=st.integers(1, 300))
    def say_more_than_is_held(self, claim, wanted):
        batch = Batch([answer_delta("dev", "word ")], 1, wanted)
        answer = self.attempts.append([(claim, batch)])[0]
        self.count_held(claim, wanted, answer in (Hold.HELD, Hold.CANCELLED))

    def count_held(self, claim, wanted, is_held):
        turn = (claim.job_id, claim.slot)
        granted = self.granted.get(turn, claim.held_micros)
        if is_held and wanted > granted:
            self.held[claim.job_id] += wanted - granted
            self.granted[turn] = wanted

    @rule(claim=claims)
    def enter(self, claim):
        """Lead, or be parked behind another job that asks the same."""
        self.single_flight.enter("f", claim)

    @rule(job_id=jobs)
    def end_leading(self, job_id):
        self.single_flight.end("f", job_id, None)

    @rule(claim=claims)
    def start_team(self, claim):
        if claim.spec.team is not None:
            self.start_round(claim, 1)

    @rule(slot_claim=slot_claims)
    def start_next_round(self, slot_claim):
        if slot_claim.slot == end_of(1):
            self.start_round(slot_claim.claim, 2)

    def start_round(self, holder, number):
        slots = [Slot(number, name) for name in AGENTS]
        hold = self.teams.start_round(
            holder, PLAN, slots, deadline_ms=holder.spec.created_ms + 60_000
        )
        assert hold in Hold

    @rule(target=slot_claims, job_id=jobs, slot=st.sampled_from(SLOTS), is_sweeper=st.booleans())
    def claim_slot(self, job_id, slot, is_sweeper):
        take = self.teams.take_slot if is_sweeper else self.teams.claim_slot
        try:
            return some(take(job_id, slot))
        except SlotUnavailable:
            return multiple()

    @rule(claim=claims, used=CALLS)
    def defer(self, claim, used):
        if self.attempts.defer(claim, 1.0, reason="rate_limited", used=used):
            self.add(claim, used)

    @rule(slot_claim=slot_claims, used=CALLS)
    def defer_slot(self, slot_claim, used):
        self.defer(slot_claim.claim, used)

    @rule(slot_claim=slot_claims, used=CALLS)
    def report(self, slot_claim, used):
        slot = slot_claim.slot
        if slot.is_end:
            return
        report = AgentReport(
            name=slot.agent,
            status="completed",
            tier="quick",
            model="m",
            reason="r",
            usage=used.usage,
            cost_micros=used.cost_micros,
        )
        reply = MemberReply(round=slot.round, text="t", finish_reason="stop", report=report)
        if self.teams.report(slot_claim, reply) is not None:
            self.add(slot_claim.claim, used)

    @rule(claim=claims, status=ENDS, used=CALLS)
    def finish(self, claim, status, used):
        outcome = Outcome(
            usage=used.usage,
            cost_micros=used.cost_micros,
            savings=Savings(routing_micros=SAVED),
        )
        if self.attempts.finish(claim, status, outcome):
            self.add(claim, used)

    @rule(slot_claim=slot_claims, status=ENDS, used=CALLS)
    def finish_team(self, slot_claim, status, used):
        if slot_claim.slot.is_end:
            self.finish(slot_claim.claim, status, used)

    @rule(job_id=jobs, slot=st.sampled_from([None, *SLOTS]))
    def lose_the_worker(self, job_id, slot):
        """Let the lease run out; the worker may be dead, or only slow."""
        name = f"{slot.name}:lease" if slot else "lease"
        if self.redis.hexists(keys.job(job_id), name):
            self.redis.hset(keys.job(job_id), name, 1)

    # Users and the sweeper

    @rule(job_id=jobs)
    def cancel(self, job_id):
        job = self.store.get(job_id)
        try:
            self.cancellation.cancel(job)
        except JobAlreadyFinished:
            assert job.is_terminal

    @rule(job_id=jobs)
    def withdraw(self, job_id):
        job = self.store.get(job_id)
        if job.started_ms is not None:
            assert not self.store.withdraw(job.spec)

    @rule(job_id=jobs, slot=st.sampled_from([None, *SLOTS]))
    def release(self, job_id, slot):
        self.sweep.release(job_id, slot)

    @rule(target=claims, job_id=jobs)
    def take_over(self, job_id):
        return some(self.sweep.take_over(self.store.get(job_id)))

    def teardown(self):
        for job_id in self.used:
            for slot in (None, *SLOTS):
                self.lose_the_worker(job_id, slot)
            if claim := self.sweep.take_over(self.store.get(job_id)):
                self.finish(claim, sorted(TERMINAL)[0], Spent(Usage(1, 0, 1), 3))
        self.money_is_right()
        assert all(self.store.get(job_id).is_terminal for job_id in self.used)

    # What holds after every step

    @invariant()
    def money_is_right(self):
        if not self.used:
            return
        jobs = self.store.get_many(self.used)
        ended = [job for job in jobs if job.is_terminal]
        for job in ended:
            outcome, used = job.outcome, self.used[job.id]
            assert (outcome.usage, outcome.cost_micros) == (used.usage, used.cost_micros)
            assert outcome.baseline_micros - outcome.savings.total_micros == outcome.cost_micros
        month = self.redis.hgetall(keys.spend(self.user_id, self.spec.created_ms))
        unfinished = [job for job in jobs if not job.is_terminal]
        assert int(month[b"reserved"]) == sum(self.held[job.id] for job in unfinished)
        assert int(month.get(b"spent", 0)) == sum(self.used[job.id].cost_micros for job in ended)

    def add(self, claim, used):
        so_far = self.used[claim.job_id]
        self.used[claim.job_id] = Spent(
            so_far.usage + used.usage, so_far.cost_micros + used.cost_micros
        )


def some(found):
    return multiple() if found is None else found


@pytest.mark.parametrize(
    ("examples", "is_same_each_time"),
    [(60, True), pytest.param(600, False, marks=pytest.mark.long)],
)
def test_everybody_is_charged_what_all_calls_cost_when_they_come_in_any_order(
    examples, is_same_each_time, redis_client
):
    run_state_machine_as_test(
        lambda: MoneyMachine(redis_client),
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            derandomize=is_same_each_time,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
