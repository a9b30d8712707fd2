"""Jobs that ask the same at once: one leads, the others wait without a worker, nobody is lost."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.jobs import JobStatus
from core.timing import now_ms
from storage import keys
from storage.jobs.cancellation import Cancellation
from storage.jobs.claims import Hold
from storage.limits.single_flight import Alone, Entered, Failed, Kept, Released, Role, SingleFlight
from tests.jobs import QUESTION, ROOMY, make_spec

NAME = "f" * 64
LEASE_S = 15
KEPT = Kept(b"\x00kept:\xff")
LEADS, IS_PARKED = Entered(Role.LEAD), Entered(Role.PARKED)
NONE = Released(0, 0)


@pytest.fixture
def single_flight(redis_client):
    return SingleFlight(redis_client, LEASE_S)


@pytest.fixture
def claimed(store, attempts):
    """Return what makes a job that a worker has just claimed."""

    def claimed(**changes):
        spec = make_spec(**changes)
        store.accept(spec, QUESTION, ROOMY, None)
        return attempts.claim(spec.id)

    return claimed


def due_in_s(redis_client, job_id):
    return (redis_client.zscore(keys.DEFERRED, job_id) - now_ms()) / 1000


def ids_of(claims):
    return {claim.job_id for claim in claims}


def test_first_leads_and_the_others_wait_in_the_queue(
    single_flight, claimed, store, attempts, redis_client
):
    leader, other = claimed(), claimed()

    assert single_flight.enter(NAME, leader) == LEADS
    assert single_flight.enter(NAME, other) == IS_PARKED

    job = store.get(other.job_id)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)
    assert attempts.renew([leader, other]) == [Hold.HELD, Hold.LOST]
    assert LEASE_S - 5 < due_in_s(redis_client, other.job_id) <= LEASE_S


def test_another_question_has_a_leader_of_its_own(single_flight, claimed):
    single_flight.enter(NAME, claimed())

    assert single_flight.enter("e" * 64, claimed()) == LEADS


def test_parked_job_goes_on_with_the_attempt_that_parked_it(single_flight, claimed, attempts):
    single_flight.enter(NAME, claimed())
    first = claimed()
    single_flight.enter(NAME, first)

    again = attempts.claim(first.job_id)

    assert (again.attempt, again.question, again.was_parked) == (1, QUESTION, True)
    assert single_flight.enter(NAME, again) == IS_PARKED
    assert single_flight.enter(NAME, first) == Entered(Role.LOST)


def test_claim_that_is_void_changes_nothing(single_flight, claimed, attempts, redis_client):
    zombie = claimed()
    redis_client.hset(keys.job(zombie.job_id), "lease", 1)
    heir = attempts.claim(zombie.job_id)

    assert single_flight.enter(NAME, zombie) == Entered(Role.LOST)

    assert attempts.renew([heir]) == [Hold.HELD]
    assert single_flight.enter(NAME, claimed()) == LEADS


def test_new_attempt_of_the_leader_leads_again(single_flight, claimed, attempts, redis_client):
    leader = claimed()
    single_flight.enter(NAME, leader)
    redis_client.hset(keys.job(leader.job_id), "lease", 1)

    assert single_flight.enter(NAME, attempts.claim(leader.job_id)) == LEADS


def test_all_that_wait_are_in_line_when_the_leader_ends(
    single_flight, claimed, redis_client, attempts
):
    leader, others = claimed(), [claimed() for _ in range(3)]
    for claim in (leader, *others):
        single_flight.enter(NAME, claim)

    assert single_flight.end(NAME, leader.job_id, KEPT) == Released(3, 3)

    assert redis_client.exists(keys.DEFERRED) == 0
    assert {attempts.claim(claim.job_id).job_id for claim in others} == ids_of(others)
    assert single_flight.end(NAME, leader.job_id, KEPT) == NONE


@pytest.mark.parametrize("note", [KEPT, Alone()])
def test_note_is_given_to_who_comes_after_the_end(note, single_flight, claimed, redis_client):
    leader = claimed()
    single_flight.enter(NAME, leader)
    single_flight.end(NAME, leader.job_id, note)

    assert single_flight.enter(NAME, claimed()) == Entered(Role.NOTE, note)
    assert 15_000 < redis_client.pttl(keys.single_flight(NAME)[2]) <= 30_000


def test_a_failure_is_shared_by_those_who_waited_and_tried_anew_by_those_who_come_later(
    single_flight, claimed, attempts
):
    leader, waiting = claimed(), claimed()
    for claim in (leader, waiting):
        single_flight.enter(NAME, claim)
    failed = Failed("model_failed", "It failed.")
    single_flight.end(NAME, leader.job_id, failed)

    assert single_flight.enter(NAME, attempts.claim(waiting.job_id)) == Entered(Role.NOTE, failed)
    assert single_flight.enter(NAME, claimed()) == LEADS


def test_next_leads_when_the_leader_left_no_note(single_flight, claimed, attempts):
    leader, *others = claims = [claimed() for _ in range(3)]
    for claim in claims:
        single_flight.enter(NAME, claim)
    single_flight.end(NAME, leader.job_id, None)

    again = [single_flight.enter(NAME, attempts.claim(claim.job_id)) for claim in others]

    assert again == [LEADS, IS_PARKED]


def test_nobody_waits_in_vain_when_the_leader_ends_between_a_look_and_an_entry(
    single_flight, claimed
):
    leader, late = claimed(), claimed()
    single_flight.enter(NAME, leader)
    # Here the late job looks for a kept answer and finds none.
    single_flight.end(NAME, leader.job_id, KEPT)

    assert single_flight.enter(NAME, late) == Entered(Role.NOTE, KEPT)
    assert single_flight.end(NAME, leader.job_id, KEPT) == NONE


def test_one_leads_when_a_thousand_enter_at_once(single_flight, claimed, attempts, lines):
    claims = [claimed() for _ in range(1_000)]

    with ThreadPoolExecutor(16) as pool:
        entered = list(pool.map(lambda claim: single_flight.enter(NAME, claim), claims))

    assert Counter(one.role for one in entered) == {Role.LEAD: 1, Role.PARKED: 999}
    leader = claims[entered.index(LEADS)]
    released = single_flight.end(NAME, leader.job_id, KEPT)
    assert released == Released(999, 500)
    lines.enter_due(most=500)
    again = [attempts.claim(claim.job_id) for claim in claims if claim is not leader]
    notes = {single_flight.enter(NAME, claim).role for claim in again}
    assert notes == {Role.NOTE}


def test_nobody_waits_again_when_the_answer_was_not_shareable(
    single_flight, claimed, attempts, redis_client
):
    leader, other = claimed(), claimed()
    for claim in (leader, other):
        single_flight.enter(NAME, claim)
    single_flight.end(NAME, leader.job_id, Alone())
    other = attempts.claim(other.job_id)
    assert single_flight.enter(NAME, other) == Entered(Role.NOTE, Alone())

    redis_client.delete(keys.single_flight(NAME)[2])  # Its 30 seconds are over.

    assert single_flight.enter(NAME, claimed()) == LEADS
    assert single_flight.enter(NAME, other) == Entered(Role.NOTE, Alone())


def test_next_to_enter_leads_when_the_leader_is_dead(single_flight, claimed, redis_client):
    dead, parked = claimed(), claimed()
    single_flight.enter(NAME, dead)
    single_flight.enter(NAME, parked)
    leader_key = keys.single_flight(NAME)[0]
    assert 0 < redis_client.pttl(leader_key) <= LEASE_S * 1000

    redis_client.delete(leader_key)  # Its lease is over.

    heir = claimed()
    assert single_flight.enter(NAME, heir) == LEADS
    assert not single_flight.renew(NAME, dead.job_id)
    assert single_flight.end(NAME, dead.job_id, KEPT) == NONE
    assert single_flight.end(NAME, heir.job_id, KEPT) == Released(1, 1)


def test_leader_leads_on_when_it_renews_or_is_deferred(single_flight, claimed, redis_client):
    leader = claimed()
    single_flight.enter(NAME, leader)
    leader_key = keys.single_flight(NAME)[0]

    assert single_flight.keep(NAME, leader.job_id, 60.0)
    assert 60_000 < redis_client.pttl(leader_key) <= (60 + LEASE_S) * 1000
    assert single_flight.renew(NAME, leader.job_id)
    assert 0 < redis_client.pttl(leader_key) <= LEASE_S * 1000


def test_parked_job_ends_at_once_when_it_is_cancelled(
    single_flight, claimed, store, sweep, attempts, teams
):
    leader, other = claimed(), claimed()
    for claim in (leader, other):
        single_flight.enter(NAME, claim)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(other.job_id))

    assert store.get(other.job_id).status is JobStatus.CANCELLED
    assert single_flight.end(NAME, leader.job_id, KEPT) == NONE


def test_job_is_due_at_once_when_its_cancel_came_before_it_was_parked(
    single_flight, claimed, store, sweep
):
    leader, other = claimed(), claimed()
    single_flight.enter(NAME, leader)
    store.request_cancel(other.job_id)

    assert single_flight.enter(NAME, other) == IS_PARKED

    (due,) = sweep.due(now_ms(), most=10)
    assert (due.job_id, due.cancel_requested) == (other.job_id, True)


def test_parked_job_is_due_by_its_deadline(single_flight, claimed, sweep):
    leader, other = claimed(), claimed(allowed_ms=1_000)
    single_flight.enter(NAME, leader)
    single_flight.enter(NAME, other)

    due = {entry.job_id: entry for entry in sweep.due(now_ms() + LEASE_S * 1000, most=10)}

    found = due[other.job_id]
    assert (found.job.status, found.lease_until_ms) == (JobStatus.QUEUED, 0)
    assert found.deadline_ms < now_ms() + LEASE_S * 1000
    assert sweep.take_over(found.job) is not None


def test_job_that_was_released_leads_without_being_released_again(single_flight, claimed, attempts):
    leader, other = claimed(), claimed()
    for claim in (leader, other):
        single_flight.enter(NAME, claim)
    single_flight.end(NAME, leader.job_id, None)

    assert single_flight.enter(NAME, attempts.claim(other.job_id)) == LEADS
    assert single_flight.end(NAME, other.job_id, KEPT) == NONE
