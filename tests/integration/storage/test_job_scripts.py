"""A job's life in Redis: accepted once, held by one attempt at a time, ended once."""

from __future__ import annotations

import msgspec
import pytest

from core import events
from core.chat import Usage
from core.errors import IdempotencyConflict, JobAlreadyFinished, JobNotFound
from core.events import ANSWER_DELTA, NewEvent
from core.ids import new_job_id, new_user_id
from core.jobs import Job, JobStatus, Question
from core.limit_errors import BudgetBusy, TooManyJobs
from core.outcome import Answer, Outcome, Savings, Spent
from core.plans import Plan
from core.timing import now_ms
from storage import keys
from storage.jobs.acceptance import IdempotencyClaim
from storage.jobs.cancellation import Cancellation
from storage.jobs.claims import Batch, Hold
from storage.jobs.recovery import Restored
from tests.jobs import QUESTION, ROOMY, make_spec

SPENT = Spent(Usage(input_tokens=7, output_tokens=3), 12)
DONE = Outcome(answer=Answer(text="ab", finish_reason="stop", agents=("dev",)), cost_micros=30)


def expire_lease(redis_client, job_id):
    redis_client.hset(keys.job(job_id), "lease", 1)


def types_of(events):
    return [event.type for event in events]


def spend_of(redis_client, spec):
    found = redis_client.hgetall(keys.spend(spec.user_id, spec.created_ms))
    return {n: int(found[n.encode()]) for n in ("reserved", "spent") if found.get(n.encode())}


def test_job_is_queued_with_its_first_event_when_accepted(store, log):
    spec = make_spec()

    store.accept(spec, QUESTION, ROOMY, None)

    job = store.get(spec.id)
    assert (job.spec, job.status, job.cursor) == (spec, JobStatus.QUEUED, 1)
    assert types_of(log.read(spec.id, after=0)) == ["job.queued"]


def test_question_is_read_only_when_it_is_asked_for(store):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)

    assert store.get(spec.id).question is None
    assert store.get_many([spec.id])[0].question is None
    assert store.get_whole([spec.id])[0].question == QUESTION
    assert store.question(spec.id) == QUESTION
    assert store.question(new_job_id(spec.user_id)) is None


def test_second_job_is_refused_when_the_plan_allows_one(store):
    plan = Plan(name="trial", running=10, unfinished=1, monthly_budget_micros=1_000)
    first = make_spec()
    store.accept(first, QUESTION, plan, None)
    second = make_spec(user_id=first.user_id)

    with pytest.raises(TooManyJobs):
        store.accept(second, QUESTION, plan, None)

    assert store.get(second.id) is None


def test_job_has_to_wait_when_reservations_reach_the_budget(store, redis_client):
    plan = Plan(name="trial", running=10, unfinished=10, monthly_budget_micros=99)
    first = make_spec(reserved_micros=50)
    store.accept(first, QUESTION, plan, None)

    with pytest.raises(BudgetBusy):
        store.accept(make_spec(user_id=first.user_id, reserved_micros=50), QUESTION, plan, None)

    assert spend_of(redis_client, first) == {"reserved": 50, "spent": 0}


def test_same_job_is_returned_when_an_idempotency_key_repeats(store):
    spec = make_spec()
    claim = IdempotencyClaim("key", "body")
    store.accept(spec, QUESTION, ROOMY, claim)

    repeated = store.accept(make_spec(user_id=spec.user_id), QUESTION, ROOMY, claim)

    assert repeated == spec.id


def test_idempotency_key_is_refused_when_the_body_differs(store):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, IdempotencyClaim("key", "body"))

    with pytest.raises(IdempotencyConflict):
        store.accept(
            make_spec(user_id=spec.user_id), QUESTION, ROOMY, IdempotencyClaim("key", "other")
        )


def test_nothing_is_left_but_a_mark_when_an_accept_is_withdrawn(store, redis_client):
    spec = make_spec()
    claim = IdempotencyClaim("key", "body")
    store.accept(spec, QUESTION, ROOMY, claim)

    assert store.withdraw(spec, claim)

    assert store.get(spec.id) is None
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 0}
    assert redis_client.zcard(keys.active(spec.user_id)) == 0
    assert store.restore(spec, QUESTION) is Restored.WITHDRAWN
    fresh = make_spec(user_id=spec.user_id)
    assert store.accept(fresh, QUESTION, ROOMY, claim) == fresh.id


def test_withdrawal_does_nothing_when_a_worker_has_the_job(store, attempts):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    attempts.claim(spec.id)

    assert not store.withdraw(spec)

    assert store.get(spec.id).status is JobStatus.IN_PROGRESS


def test_withdrawal_does_nothing_when_a_worker_had_the_job(store, attempts):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    attempts.defer(attempts.claim(spec.id), 5.0, reason="rate_limited", used=SPENT)

    assert not store.withdraw(spec)


def test_second_claim_gets_nothing_when_the_lease_is_alive(store, attempts):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)

    first, second = attempts.claim(spec.id), attempts.claim(spec.id)

    assert (first.attempt, first.spec, first.question) == (1, spec, QUESTION)
    assert second is None


def test_claim_gets_nothing_when_the_job_is_unknown(attempts):
    assert attempts.claim(new_job_id(new_user_id())) is None


def test_zombie_is_refused_when_a_new_attempt_has_the_job(store, attempts, redis_client):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    zombie = attempts.claim(spec.id)
    attempts.append([(zombie, Batch([NewEvent(ANSWER_DELTA, {"text": "old"})]))])
    expire_lease(redis_client, spec.id)
    heir = attempts.claim(spec.id)

    late = attempts.append([(zombie, Batch([NewEvent(ANSWER_DELTA, {"text": "late"})]))])

    assert late == [Hold.LOST]
    assert attempts.renew([zombie, heir]) == [Hold.LOST, Hold.HELD]
    assert not attempts.finish(zombie, JobStatus.COMPLETED, DONE)
    assert store.get(spec.id).attempt == 2


def test_events_are_numbered_without_gaps_when_a_job_runs_to_its_end(store, attempts, log):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)
    attempts.append([(claim, Batch([NewEvent(ANSWER_DELTA, {"text": "a"})]))])

    attempts.finish(
        claim, JobStatus.COMPLETED, DONE, last_events=[NewEvent(ANSWER_DELTA, {"text": "b"})]
    )

    kept = log.read(spec.id, after=0)
    assert [event.sequence for event in kept] == [1, 2, 3, 4]
    assert types_of(kept)[1:] == ["answer.delta", "answer.delta", "job.completed"]
    assert msgspec.json.decode(kept[1].body) | {"at": ""} == {
        "sequence": 2,
        "type": "answer.delta",
        "job_id": spec.id,
        "at": "",
        "data": {"text": "a"},
    }


def test_batch_is_appended_once_when_it_is_sent_again(store, attempts, log):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)
    arrived = Batch([NewEvent(ANSWER_DELTA, {"text": "a"})], 1)
    fresh = Batch([NewEvent(ANSWER_DELTA, {"text": "b"})], 2)

    holds = [attempts.append([(claim, batch)]) for batch in (arrived, arrived, fresh)]
    attempts.finish(
        claim,
        JobStatus.COMPLETED,
        DONE,
        unsure=fresh,
        last_events=[NewEvent(ANSWER_DELTA, {"text": "c"})],
    )

    assert holds == [[Hold.HELD]] * 3
    bodies = [event.body for event in log.read(spec.id, after=1)]
    texts = [msgspec.json.decode(body)["data"].get("text") for body in bodies]
    assert texts == ["a", "b", "c", None]


def test_batch_that_never_arrived_comes_with_the_end(store, attempts, log):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    lost = Batch([NewEvent(ANSWER_DELTA, {"text": "a"})], 1)

    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE, unsure=lost)

    assert types_of(log.read(spec.id, after=1)) == ["answer.delta", "job.completed"]


def test_job_is_settled_once_when_it_is_finished_twice(store, attempts, redis_client):
    spec = make_spec(reserved_micros=50)
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)

    answers = [attempts.finish(claim, JobStatus.COMPLETED, DONE) for _ in range(2)]

    assert answers == [True, False]
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 30}
    assert redis_client.zcard(keys.active(spec.user_id)) == 0
    assert redis_client.zcard(keys.WATCH) == 0
    assert redis_client.xlen(keys.records(spec.id[4])) == 1
    assert store.get(spec.id).outcome == DONE


def test_free_job_ends_and_is_withdrawn_like_any_other(store, attempts, redis_client):
    ended, withdrawn = make_spec(reserved_micros=0), make_spec(reserved_micros=0)
    for spec in (ended, withdrawn):
        store.accept(spec, QUESTION, ROOMY, None)

    assert attempts.finish(attempts.claim(ended.id), JobStatus.COMPLETED, Outcome())
    assert store.withdraw(withdrawn)

    assert spend_of(redis_client, ended) == {"reserved": 0, "spent": 0}
    assert spend_of(redis_client, withdrawn) == {"reserved": 0, "spent": 0}


def test_queued_job_ends_at_once_when_it_is_cancelled(
    store, attempts, sweep, log, redis_client, teams
):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert store.get(spec.id).status is JobStatus.CANCELLED
    assert types_of(log.read(spec.id, after=1)) == ["job.cancelled"]
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 0}
    assert attempts.claim(spec.id) is None


def test_write_says_so_when_the_job_is_cancelled(store, attempts, sweep, teams):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert attempts.renew([claim]) == [Hold.CANCELLED]
    assert attempts.append([(claim, Batch([]))]) == [Hold.CANCELLED]


def test_cancel_is_refused_when_the_job_has_ended(store, attempts, sweep, teams):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE)

    with pytest.raises(JobAlreadyFinished) as refusal:
        Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert refusal.value.job_status == "completed"


def test_cancel_is_refused_when_the_accept_was_withdrawn(store, attempts, sweep, teams):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    job = store.get(spec.id)
    store.withdraw(spec)

    with pytest.raises(JobNotFound):
        Cancellation(store, sweep, attempts, teams).cancel(job)


def test_job_is_due_when_its_lease_has_run_out(store, attempts, sweep, redis_client):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    attempts.claim(spec.id)
    expire_lease(redis_client, spec.id)

    in_a_minute_ms = spec.created_ms + 60_000
    due = sweep.due(in_a_minute_ms, most=10)

    assert [(entry.job_id, entry.lease_until_ms) for entry in due] == [(spec.id, 1)]
    assert sweep.release(spec.id)[0]
    assert store.get(spec.id).status is JobStatus.QUEUED
    assert attempts.claim(spec.id).attempt == 2


def test_release_and_take_over_do_nothing_when_the_lease_is_alive(store, attempts, sweep):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)

    assert sweep.release(spec.id) == (False, 0)
    assert sweep.take_over(store.get(spec.id)) is None

    assert attempts.renew([claim]) == [Hold.HELD]


def test_job_is_queued_again_when_redis_had_lost_it(store, attempts, redis_client):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    redis_client.flushall()

    restored = [store.restore(spec, QUESTION), store.restore(spec, QUESTION)]

    assert restored == [Restored.RESTORED, Restored.PRESENT]
    assert attempts.claim(spec.id).spec == spec
    assert spend_of(redis_client, spec) == {"reserved": 50, "spent": 0}


def test_scripts_work_when_redis_has_forgotten_them(store, attempts, redis_client):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)
    redis_client.script_flush()

    assert attempts.renew([claim, claim]) == [Hold.HELD, Hold.HELD]
    assert attempts.finish(claim, JobStatus.COMPLETED, DONE)


def test_whole_cost_is_in_the_end_when_a_job_was_given_back(store, attempts, log, redis_client):
    spec = make_spec(reserved_micros=50)
    store.accept(spec, QUESTION, ROOMY, None)
    attempts.defer(attempts.claim(spec.id), 5.0, reason="rate_limited", used=SPENT)
    own = msgspec.structs.replace(DONE, usage=Usage(10, 4, 5), savings=Savings(routing_micros=60))

    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, own)

    outcome = store.get(spec.id).outcome
    assert (outcome.usage, outcome.cost_micros) == (Usage(17, 4, 8), 42)
    assert outcome.baseline_micros == 42 + 60
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 42}
    end = msgspec.json.decode(log.read(spec.id, after=0)[-1].body)["data"]
    assert end == {
        "status": "completed",
        "finish_reason": "stop",
        "degraded": False,
        "timing_ms": None,
        "error": None,
        "usage": {
            "input_tokens": 17,
            "cached_input_tokens": 4,
            "output_tokens": 8,
            "total_tokens": 25,
        },
        "cost_usd": 0.000042,
    }


def test_what_was_used_is_paid_when_a_job_is_cancelled_that_was_given_back(
    store, attempts, sweep, teams, redis_client
):
    spec = make_spec(reserved_micros=50)
    store.accept(spec, QUESTION, ROOMY, None)
    attempts.defer(attempts.claim(spec.id), 5.0, reason="rate_limited", used=SPENT)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert store.get(spec.id).outcome.usage == SPENT.usage
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 12}


def test_deferred_job_is_due_at_once_when_it_is_to_be_cancelled(store, attempts, sweep):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)
    store.request_cancel(spec.id)

    attempts.defer(claim, 60.0, reason="rate_limited", used=SPENT)

    (due,) = sweep.due(now_ms(), most=10)
    assert (due.job_id, due.cancel_requested) == (spec.id, True)


def test_answered_job_is_accepted_as_completed(store, log, redis_client):
    spec = make_spec(reserved_micros=0)
    outcome = msgspec.structs.replace(DONE, cost_micros=0, savings=Savings(cache_micros=30))
    answered = Job(
        spec=spec,
        status=JobStatus.COMPLETED,
        cursor=3,
        started_ms=spec.created_ms,
        finished_ms=spec.created_ms + 5,
        outcome=outcome,
        question=QUESTION,
    )
    told = [
        events.job_queued(spec.mode),
        events.cache_hit("memory", 1.0, 0.00003),
        events.job_ended(events.JOB_COMPLETED, "completed", outcome),
    ]

    assert store.accept_answered(answered, told, None) == spec.id

    assert store.get_whole([spec.id]) == [answered]
    kept = log.read(spec.id, after=0)
    assert types_of(kept) == ["job.queued", "cache.hit", "job.completed"]
    end = msgspec.json.decode(kept[-1].body)["data"]
    assert (end["usage"]["total_tokens"], end["cost_usd"]) == (0, 0.0)
    assert redis_client.xlen(keys.records(spec.id[4])) == 1


def test_job_is_read_and_claimed_when_the_version_before_wrote_it(store, attempts, redis_client):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    old_spec = msgspec.to_builtins(spec) | {"message": "Old?"}
    redis_client.hset(keys.job(spec.id), "spec", msgspec.json.encode(old_spec))
    redis_client.hdel(keys.job(spec.id), "question")

    assert store.question(spec.id) == Question("Old?")
    assert store.get_whole([spec.id])[0].question == Question("Old?")
    assert attempts.claim(spec.id).question == Question("Old?")


def test_outcome_is_read_when_the_version_before_wrote_it(store, attempts, redis_client):
    spec = make_spec()
    store.accept(spec, QUESTION, ROOMY, None)
    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE)
    old = msgspec.structs.replace(DONE, usage=SPENT.usage)
    redis_client.hset(keys.job(spec.id), "outcome", msgspec.json.encode(old))
    totals = ("total_input", "total_cached", "total_output", "total_micros")
    redis_client.hdel(keys.job(spec.id), *totals)

    assert store.get(spec.id).outcome == old
