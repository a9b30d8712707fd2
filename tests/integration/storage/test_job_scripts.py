"""A job's life in Redis: accepted once, held by one attempt at a time, ended once."""

from __future__ import annotations

import msgspec
import pytest

from core.chat import Usage
from core.errors import (
    BudgetExhausted,
    IdempotencyConflict,
    JobAlreadyFinished,
    JobNotFound,
    TooManyJobs,
)
from core.events import ANSWER_DELTA, NewEvent
from core.ids import new_job_id, new_user_id
from core.jobs import JobStatus
from core.outcome import Answer, Outcome, Spent
from core.plans import Plan
from storage import keys
from storage.jobs.attempts import Batch, Hold, Turn
from storage.jobs.cancellation import Cancellation
from storage.jobs.store import IdempotencyClaim, Restored
from tests.jobs import ROOMY, make_spec

SPENT = Spent(Usage(input_tokens=7, output_tokens=3), 12)
DONE = Outcome(answer=Answer(text="ab", finish_reason="stop", agents=("dev",)), cost_micros=30)


def expire_lease(redis_client, job_id):
    redis_client.hset(keys.job(job_id), "lease", 1)


def types_of(events):
    return [event.type for event in events]


def spend_of(redis_client, spec):
    found = redis_client.hgetall(keys.spend(spec.user_id, spec.created_ms))
    return {name.decode(): int(value) for name, value in found.items()}


def test_job_is_queued_with_its_first_event_when_accepted(store, log):
    spec = make_spec()

    store.accept(spec, ROOMY, None)

    job = store.get(spec.id)
    assert (job.spec, job.status, job.cursor) == (spec, JobStatus.QUEUED, 1)
    assert types_of(log.read(spec.id, after=0)) == ["job.queued"]


def test_second_job_is_refused_when_the_plan_allows_one(store):
    plan = Plan(name="trial", concurrent_jobs=1, monthly_budget_micros=1_000)
    first = make_spec()
    store.accept(first, plan, None)
    second = make_spec(user_id=first.user_id)

    with pytest.raises(TooManyJobs):
        store.accept(second, plan, None)

    assert store.get(second.id) is None


def test_job_is_refused_when_reservations_reach_the_budget(store, redis_client):
    plan = Plan(name="trial", concurrent_jobs=10, monthly_budget_micros=99)
    first = make_spec(reserved_micros=50)
    store.accept(first, plan, None)

    with pytest.raises(BudgetExhausted):
        store.accept(make_spec(user_id=first.user_id, reserved_micros=50), plan, None)

    assert spend_of(redis_client, first) == {"reserved": 50}


def test_same_job_is_returned_when_an_idempotency_key_repeats(store):
    spec = make_spec()
    claim = IdempotencyClaim("key", "body")
    store.accept(spec, ROOMY, claim)

    repeated = store.accept(make_spec(user_id=spec.user_id), ROOMY, claim)

    assert repeated == spec.id


def test_idempotency_key_is_refused_when_the_body_differs(store):
    spec = make_spec()
    store.accept(spec, ROOMY, IdempotencyClaim("key", "body"))

    with pytest.raises(IdempotencyConflict):
        store.accept(make_spec(user_id=spec.user_id), ROOMY, IdempotencyClaim("key", "other"))


def test_nothing_is_left_but_a_mark_when_an_accept_is_undone(store, redis_client):
    spec = make_spec()
    claim = IdempotencyClaim("key", "body")
    store.accept(spec, ROOMY, claim)

    assert store.undo(spec, claim)

    assert store.get(spec.id) is None
    assert spend_of(redis_client, spec) == {"reserved": 0}
    assert redis_client.zcard(keys.active(spec.user_id)) == 0
    assert store.restore(spec) is Restored.UNDONE
    fresh = make_spec(user_id=spec.user_id)
    assert store.accept(fresh, ROOMY, claim) == fresh.id


def test_undo_does_nothing_when_a_worker_has_the_job(store, attempts):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    attempts.claim(spec.id)

    assert not store.undo(spec)

    assert store.get(spec.id).status is JobStatus.IN_PROGRESS


def test_second_claim_gets_nothing_when_the_lease_is_alive(store, attempts):
    spec = make_spec()
    store.accept(spec, ROOMY, None)

    first, second = attempts.claim(spec.id), attempts.claim(spec.id)

    assert (first.attempt, first.spec) == (1, spec)
    assert second is None


def test_claim_gets_nothing_when_the_job_is_unknown(attempts):
    assert attempts.claim(new_job_id(new_user_id())) is None


def test_zombie_is_refused_when_a_new_attempt_has_the_job(store, attempts, log, redis_client):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    zombie = attempts.claim(spec.id)
    attempts.append([(zombie, Batch([NewEvent(ANSWER_DELTA, {"text": "old"})]))])
    expire_lease(redis_client, spec.id)
    heir = attempts.claim(spec.id)

    late = attempts.append([(zombie, Batch([NewEvent(ANSWER_DELTA, {"text": "late"})]))])

    assert late == [Hold.LOST]
    assert attempts.renew([zombie, heir]) == [Hold.LOST, Hold.HELD]
    assert not attempts.finish(zombie, JobStatus.COMPLETED, DONE)
    retrying = log.read(spec.id, after=3)[0]
    assert retrying.type == "job.retrying"
    assert msgspec.json.decode(retrying.body)["data"]["superseded_through"] == 3
    assert store.get(spec.id).attempt == 2


def test_events_are_numbered_without_gaps_when_a_job_runs_to_its_end(store, attempts, log):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    claim = attempts.claim(spec.id)
    attempts.append([(claim, Batch([NewEvent(ANSWER_DELTA, {"text": "a"})]))])

    attempts.finish(
        claim, JobStatus.COMPLETED, DONE, last_events=[NewEvent(ANSWER_DELTA, {"text": "b"})]
    )

    events = log.read(spec.id, after=0)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert types_of(events)[2:] == ["answer.delta", "answer.delta", "job.completed"]
    assert msgspec.json.decode(events[2].body) | {"at": ""} == {
        "sequence": 3,
        "type": "answer.delta",
        "job_id": spec.id,
        "at": "",
        "data": {"text": "a"},
    }


def test_batch_is_appended_once_when_it_is_sent_again(store, attempts, log):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
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
    bodies = [event.body for event in log.read(spec.id, after=2)]
    texts = [msgspec.json.decode(body)["data"].get("text") for body in bodies]
    assert texts == ["a", "b", "c", None]


def test_batch_that_never_arrived_comes_with_the_end(store, attempts, log):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    lost = Batch([NewEvent(ANSWER_DELTA, {"text": "a"})], 1)

    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE, unsure=lost)

    assert types_of(log.read(spec.id, after=2)) == ["answer.delta", "job.completed"]


def test_job_is_settled_once_when_it_is_finished_twice(store, attempts, redis_client):
    spec = make_spec(reserved_micros=50)
    store.accept(spec, ROOMY, None)
    claim = attempts.claim(spec.id)

    answers = [attempts.finish(claim, JobStatus.COMPLETED, DONE) for _ in range(2)]

    assert answers == [True, False]
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 30}
    assert redis_client.zcard(keys.active(spec.user_id)) == 0
    assert redis_client.zcard(keys.dispatch(spec.id)) == 0
    assert redis_client.xlen(keys.records(spec.id[4])) == 1
    assert store.get(spec.id).outcome == DONE


def test_free_job_ends_and_is_undone_like_any_other(store, attempts, redis_client):
    ended, undone = make_spec(reserved_micros=0), make_spec(reserved_micros=0)
    for spec in (ended, undone):
        store.accept(spec, ROOMY, None)

    assert attempts.finish(attempts.claim(ended.id), JobStatus.COMPLETED, Outcome())
    assert store.undo(undone)

    assert spend_of(redis_client, ended) == {"reserved": 0, "spent": 0}
    assert spend_of(redis_client, undone) == {"reserved": 0}


def test_turn_is_remembered_when_a_job_of_a_conversation_completes(store, attempts):
    spec = make_spec(conversation_id="plans")
    store.accept(spec, ROOMY, None)

    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE)

    assert attempts.conversation(spec) == [Turn(spec.message, "ab")]


def test_conversation_is_anothers_when_the_user_differs(store, attempts):
    spec = make_spec(conversation_id="plans")
    store.accept(spec, ROOMY, None)
    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE)

    assert attempts.conversation(make_spec(conversation_id="plans")) == []


def test_queued_job_ends_at_once_when_it_is_cancelled(
    store, attempts, sweep, log, redis_client, teams
):
    spec = make_spec()
    store.accept(spec, ROOMY, None)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert store.get(spec.id).status is JobStatus.CANCELLED
    assert types_of(log.read(spec.id, after=1)) == ["job.cancelled"]
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 0}
    assert attempts.claim(spec.id) is None


def test_worker_hears_of_it_when_its_job_is_cancelled(store, attempts, sweep, teams):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    claim = attempts.claim(spec.id)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert attempts.renew([claim]) == [Hold.CANCELLED]
    assert attempts.append([(claim, Batch([]))]) == [Hold.CANCELLED]


def test_cancel_is_refused_when_the_job_has_ended(store, attempts, sweep, teams):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, DONE)

    with pytest.raises(JobAlreadyFinished) as refusal:
        Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert refusal.value.job_status == "completed"


def test_cancel_is_refused_when_the_accept_was_undone(store, attempts, sweep, teams):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    job = store.get(spec.id)
    store.undo(spec)

    with pytest.raises(JobNotFound):
        Cancellation(store, sweep, attempts, teams).cancel(job)


def test_job_is_due_when_its_lease_has_run_out(store, attempts, sweep, redis_client):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    attempts.claim(spec.id)
    expire_lease(redis_client, spec.id)

    in_a_minute_ms = spec.created_ms + 60_000
    due = sweep.due(in_a_minute_ms, per_shard=10)

    assert [(entry.job_id, entry.lease_until_ms) for entry in due] == [(spec.id, 1)]
    assert sweep.release(spec.id)
    assert store.get(spec.id).status is JobStatus.QUEUED
    assert attempts.claim(spec.id).attempt == 2


def test_release_and_seize_do_nothing_when_the_lease_is_alive(store, attempts, sweep):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    claim = attempts.claim(spec.id)

    assert not sweep.release(spec.id)
    assert sweep.seize(store.get(spec.id)) is None

    assert attempts.renew([claim]) == [Hold.HELD]


def test_job_is_queued_again_when_redis_had_lost_it(store, attempts, redis_client):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    redis_client.flushall()

    restored = [store.restore(spec), store.restore(spec)]

    assert restored == [Restored.RESTORED, Restored.PRESENT]
    assert attempts.claim(spec.id).spec == spec
    assert spend_of(redis_client, spec) == {"reserved": 50}


def test_scripts_work_when_redis_has_forgotten_them(store, attempts, redis_client):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    claim = attempts.claim(spec.id)
    redis_client.script_flush()

    assert attempts.renew([claim, claim]) == [Hold.HELD, Hold.HELD]
    assert attempts.finish(claim, JobStatus.COMPLETED, DONE)


def test_next_attempt_is_told_what_was_spent_when_a_job_was_given_back(
    store, attempts, redis_client
):
    spec = make_spec()
    store.accept(spec, ROOMY, None)
    first = attempts.claim(spec.id)

    attempts.defer(first, 5.0, reason="rate_limited", spent=SPENT)
    second = attempts.claim(spec.id)
    expire_lease(redis_client, spec.id)

    assert (first.spent, second.spent, second.attempt) == (Spent(), SPENT, 1)
    assert attempts.claim(spec.id).spent == SPENT


def test_what_was_spent_is_paid_when_a_job_is_cancelled_that_was_given_back(
    store, attempts, sweep, teams, redis_client
):
    spec = make_spec(reserved_micros=50)
    store.accept(spec, ROOMY, None)
    attempts.defer(attempts.claim(spec.id), 5.0, reason="rate_limited", spent=SPENT)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(spec.id))

    assert store.get(spec.id).outcome.usage == SPENT.usage
    assert spend_of(redis_client, spec) == {"reserved": 0, "spent": 12}
