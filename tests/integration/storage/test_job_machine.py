"""Any order of calls, repeated calls and run-out leases leaves every job whole.

Hypothesis chooses what the API, workers, sweepers and users do, and when. Each may die after a call
and before its answer, which is the same as calling again; and a worker may go on long after its
lease has run out. What has to hold is checked after every step in Redis itself.
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
from core.events import ANSWER_DELTA, TERMINAL_TYPES, NewEvent
from core.ids import new_user_id
from core.jobs import NEXT_STATUS, TERMINAL, TERMINAL_EVENT, JobStatus
from core.outcome import Answer, Outcome, Spent
from storage import keys
from storage.events.log import EventLog
from storage.jobs.attempts import MAX_ATTEMPTS, Attempts
from storage.jobs.claims import NO_EVENTS, Batch, Hold
from storage.jobs.lines import Lines, NobodyNext, Waiter
from storage.jobs.recovery import Restored
from storage.jobs.sweep import Sweep
from tests.acceptance import AcceptingStore
from tests.integration.storage.places import (
    check_empty,
    check_ended,
    check_lines,
    members,
    running_units,
    units_in_lines,
)
from tests.jobs import QUESTION, ROOMY, make_spec

RESERVED = 50
ENDS = st.sampled_from(sorted(TERMINAL))
#: Few, so that much happens to each.
MOST_JOBS = 3
TIMES = st.integers(1, 3)
WORD = NewEvent(ANSWER_DELTA, {"text": "word "})
USED = Spent(Usage(3, 1, 2), 7)


class JobMachine(RuleBasedStateMachine):
    """One user's jobs and all claims to them, good ones and those that are long void."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")
    #: Claims of those who take a job over only to end it.
    take_overs = Bundle("take_overs")

    def __init__(self, redis):
        super().__init__()
        redis.flushall()
        self.redis = redis
        self.store, self.log = AcceptingStore(redis), EventLog(redis)
        self.attempts = Attempts(redis, lease_s=60)
        self.sweep, self.lines = Sweep(redis, lease_s=60), Lines(redis, lease_s=60)
        self.user_id = new_user_id()
        self.specs = {}
        #: Of each job the status last seen, the fence that is good, and the log as it was.
        self.seen = {}
        self.good_fence = {}
        self.logs = {}
        self.withdrawn = set()
        #: Where each live job is: accepted, line, deferred or held, by its worker or by nobody.
        self.place = {}
        self.batches = {}
        #: What deferred attempts at each job cost, and how each job ended at what cost in all.
        self.used = {}
        self.ended = {}

    # The API

    @precondition(lambda self: len(self.specs) < MOST_JOBS)
    @rule(target=jobs)
    def accept(self):
        spec = make_spec(user_id=self.user_id, reserved_micros=RESERVED)
        assert self.store.accept(spec, QUESTION, ROOMY, None) == spec.id
        self.specs[spec.id] = spec
        self.seen[spec.id] = JobStatus.QUEUED
        self.logs[spec.id] = []
        self.place[spec.id] = "accepted"
        return spec.id

    @rule(job_id=jobs, times=TIMES)
    def enter(self, job_id, times):
        may = self.place.get(job_id) == "accepted"
        for number in range(times):
            entered = self.lines.enter([self.specs[job_id]])
            assert entered.unwoken == (may and number == 0)
        if may:
            self.place[job_id] = "line"

    @rule(job_id=jobs, times=TIMES)
    def withdraw(self, job_id, times):
        job = self.store.get(job_id)
        may_go = job is not None and job.status is JobStatus.QUEUED and job.started_ms is None
        for number in range(times):
            assert self.store.withdraw(self.specs[job_id]) is (may_go and number == 0)
        if may_go:
            self.withdrawn.add(job_id)
            del self.place[job_id]

    @rule(job_id=jobs, times=TIMES)
    def request_cancel(self, job_id, times):
        job = self.store.get(job_id)
        for _ in range(times):
            assert self.store.request_cancel(job_id) is (job.status if job else None)

    @rule(job_id=jobs, times=TIMES)
    def restore(self, job_id, times):
        expected = Restored.WITHDRAWN if job_id in self.withdrawn else Restored.PRESENT
        for _ in range(times):
            assert self.store.restore(self.specs[job_id], QUESTION) is expected

    # Workers

    @rule(target=claims)
    def claim(self):
        may = {job_id for job_id in self.place if self.may_begin(job_id)}
        # No model is closed for long.
        self.redis.delete(f"{keys.LINES}closed")
        found = self.lines.claim_next(Waiter(name="thread"))
        if isinstance(found, NobodyNext):
            assert may == set()
            return multiple()
        assert found.job_id in may
        self.good_fence[found.job_id] = found.fence
        self.place[found.job_id] = "held"
        return found

    def may_begin(self, job_id):
        job, is_cancelled = self.store.get(job_id), self.redis.hexists(keys.job(job_id), "cancel")
        is_in_line = self.place[job_id] == "line"
        return is_in_line and not is_cancelled and job.attempt < MAX_ATTEMPTS

    @rule(claim=claims, times=TIMES)
    def renew(self, claim, times):
        for _ in range(times):
            (hold,) = self.attempts.renew([claim])
            assert (hold is not Hold.LOST) is self.is_good(claim)

    @rule(claim=claims, words=st.integers(1, 3), times=TIMES)
    def append(self, claim, words, times):
        before = self.length(claim.job_id)
        batch = self.next_batch(claim, words)
        for _ in range(times):
            (hold,) = self.attempts.append([(claim, batch)])
            assert (hold is not Hold.LOST) is self.is_good(claim)
        assert self.length(claim.job_id) == before + words * self.is_good(claim)

    @rule(claim=claims, is_sent=st.booleans(), times=TIMES)
    def defer(self, claim, is_sent, times):
        unsure = self.unsure_batch(claim, is_sent=is_sent)
        for _ in range(times):
            is_good = self.is_good(claim)
            assert (
                self.attempts.defer(claim, 1.0, reason="busy", used=USED, unsure=unsure) is is_good
            )
            if is_good:
                self.give_back(claim, "deferred", USED.cost_micros)

    @rule(claim=claims, is_unbegun=st.booleans(), times=TIMES)
    def put_back(self, claim, is_unbegun, times):
        used = Spent() if is_unbegun else USED
        is_unbegun = is_unbegun and self.length(claim.job_id) == 1
        for _ in range(times):
            is_good = self.is_good(claim)
            put_back = {"is_unbegun": is_unbegun, "used": used}
            assert self.attempts.put_back(claim, "m", 0.0, **put_back) is is_good
            if is_good:
                self.give_back(claim, "line", used.cost_micros)

    def give_back(self, claim, place, cost):
        self.good_fence[claim.job_id] = None
        self.place[claim.job_id] = place
        self.used[claim.job_id] = self.used.get(claim.job_id, 0) + cost
        assert self.store.get(claim.job_id).attempt == claim.attempt - 1

    @rule()
    def enter_due(self):
        deferred = {job_id for job_id, place in self.place.items() if place == "deferred"}
        for job_id in deferred:
            self.redis.zadd(keys.DEFERRED, {job_id: 1}, xx=True)
        assert self.lines.enter_due(most=10) == (len(deferred), len(deferred))
        self.place |= dict.fromkeys(deferred, "line")

    @rule(claim=claims, status=ENDS, cost=st.integers(0, 90), is_sent=st.booleans(), times=TIMES)
    def finish(self, claim, status, cost, is_sent, times):
        self.end(claim, status, cost, times, unsure=self.unsure_batch(claim, is_sent=is_sent))

    @rule(job_id=jobs)
    def lose_the_worker(self, job_id):
        """Let the lease run out; the worker may be dead, or only slow."""
        if self.is_held(job_id):
            self.redis.hset(keys.job(job_id), "lease", 1)

    # The sweeper

    @rule(job_id=jobs, times=TIMES)
    def release(self, job_id, times):
        may = self.place.get(job_id) == "held" and not self.is_held(job_id)
        # What was taken over before its start has no line to go back to; only its end is left.
        may = may and self.store.get(job_id).started_ms is not None
        for number in range(times):
            is_back, unwoken = self.sweep.release(job_id)
            assert (is_back, unwoken) == ((True, 1) if may and number == 0 else (False, 0))
        if may:
            self.good_fence[job_id] = None
            self.place[job_id] = "line"

    @rule(target=take_overs, job_id=jobs, times=TIMES)
    def take_over(self, job_id, times):
        job = self.store.get(job_id)
        if job is None:
            return multiple()
        may = not job.is_terminal and not self.is_held(job_id)
        got = [claim for _ in range(times) if (claim := self.sweep.take_over(job))]
        assert len(got) == may
        for claim in got:
            self.good_fence[job_id] = claim.fence
            self.place[job_id] = "held"
        return multiple(*got)

    @rule(claim=take_overs, status=ENDS, times=TIMES)
    def end_taken_over(self, claim, status, times):
        self.end(claim, status, 0, times, unsure=NO_EVENTS)

    # What holds after every step

    @invariant()
    def every_job_is_whole(self):
        for job_id in self.specs:
            if job_id in self.withdrawn:
                assert self.store.get(job_id) is None
                assert self.length(job_id) == 0
            else:
                self.check(job_id)

    @invariant()
    def counters_are_those_of_unfinished_jobs(self):
        live = set(self.specs) - self.withdrawn - set(self.ended)
        spend = self.redis.hgetall(keys.spend(self.user_id, self.now_ms))
        active = self.redis.zrange(keys.active(self.user_id), 0, -1)
        recorded = self.redis.xrange(keys.records(self.user_id[4]))
        assert int(spend.get(b"reserved", 0)) == RESERVED * len(live)
        assert int(spend.get(b"spent", 0)) == sum(cost for _, cost in self.ended.values())
        assert {member.decode() for member in active} == live
        assert set(self.place) == live
        ids = [fields[b"id"].decode() for _, fields in recorded]
        assert sorted(ids) == sorted(self.ended)

    @invariant()
    def every_live_job_is_in_one_place(self):
        check_lines(self.redis)
        standing, running = set(units_in_lines(self.redis)), running_units(self.redis)
        deferred, watched = members(self.redis, keys.DEFERRED), members(self.redis, keys.WATCH)
        for job_id, place in self.place.items():
            state = self.redis.hmget(keys.job(job_id), "status", "cancel", "started", "attempt")
            # A line drops what nobody may begin; the sweeper ends it.
            is_dropped = place == "line" and (state[1] or int(state[3]) >= MAX_ATTEMPTS)
            assert (job_id in standing) == (place == "line") or is_dropped
            assert (job_id in deferred) == (place == "deferred")
            assert (state[0] == b"in_progress") == (place == "held")
            assert job_id not in running or place == "held"
            assert job_id in watched or (place == "line" and not state[2])
        check_ended(self.redis, set(self.ended) | self.withdrawn)
        if not self.place:
            check_empty(self.redis)

    def check(self, job_id):
        job, log = self.store.get(job_id), self.log.read(job_id, after=0)
        was = self.seen[job_id]
        assert job.status is was or is_reachable(was, job.status)
        assert [event.sequence for event in log] == list(range(1, job.cursor + 1))
        assert log[: len(self.logs[job_id])] == self.logs[job_id]
        ends = [event.type for event in log if event.type in TERMINAL_TYPES]
        if job_id in self.ended:
            status, _ = self.ended[job_id]
            assert (job.status, ends) == (status, [TERMINAL_EVENT[status]])
            assert log[-1].is_terminal
            assert was not in TERMINAL or log == self.logs[job_id]
        else:
            assert ends == []
            assert not job.is_terminal
        self.seen[job_id], self.logs[job_id] = job.status, log

    # What the rules know

    @property
    def now_ms(self):
        return next(iter(self.specs.values())).created_ms if self.specs else 0

    def length(self, job_id):
        return len(self.log.read(job_id, after=0))

    def is_good(self, claim):
        return self.good_fence.get(claim.job_id) == claim.fence

    def is_held(self, job_id):
        """Say whether a worker's lease is alive."""
        status, lease = self.redis.hmget(keys.job(job_id), "status", "lease")
        return status == b"in_progress" and int(lease) > 1

    def next_batch(self, claim, words):
        number = self.batches[claim.fence] = self.batches.get(claim.fence, 0) + 1
        return Batch([WORD] * words, number)

    def unsure_batch(self, claim, *, is_sent):
        """Return a batch of which the worker does not know whether it arrived."""
        batch = self.next_batch(claim, 1)
        if is_sent:
            self.attempts.append([(claim, batch)])
        return batch

    def end(self, claim, status, cost, times, *, unsure):
        answer = Answer(text="word ", finish_reason="stop", agents=("dev",))
        outcome = Outcome(answer=answer, cost_micros=cost)
        for _ in range(times):
            is_good = self.is_good(claim)
            assert self.attempts.finish(claim, status, outcome, unsure=unsure) is is_good
            if is_good:
                self.good_fence[claim.job_id] = None
                del self.place[claim.job_id]
                self.ended[claim.job_id] = status, cost + self.used.get(claim.job_id, 0)


def is_reachable(before, after):
    """Say whether one step, which may be two changes at once, leads from one status to another."""
    return after in NEXT_STATUS[before] or any(
        after in NEXT_STATUS[between] for between in NEXT_STATUS[before]
    )


@pytest.mark.parametrize(
    ("examples", "steps", "is_same_each_time"),
    [(60, 50, True), pytest.param(500, 50, False, marks=pytest.mark.long)],
)
def test_every_job_stays_whole_when_calls_come_in_any_order(
    examples, steps, is_same_each_time, redis_client
):
    run_state_machine_as_test(
        lambda: JobMachine(redis_client),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=is_same_each_time,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
