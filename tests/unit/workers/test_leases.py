"""Leases are renewed together, and what ends an attempt early reaches it."""

from __future__ import annotations

import time

import pytest

from core.errors import CoordinatorUnavailable
from core.stop import StopReason, StopSignal
from storage.jobs.claims import Hold
from tests.fakes import InMemoryJobs
from tests.jobs import make_spec
from tests.services import wait_until
from workers.leases import CancelListener, LeaseKeeper

LATER = time.monotonic() + 3600


def begin():
    jobs = InMemoryJobs()
    return jobs, LeaseKeeper(jobs, renew_every_s=5), jobs.add_claim(make_spec(), "question")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Hold.HELD, None), (Hold.CANCELLED, StopReason.CANCELLED), (Hold.LOST, StopReason.LOST)],
)
def test_an_attempt_obeys_the_answer_to_its_renewal(answer, reason):
    jobs, keeper, claim = begin()
    jobs.hold, stop = answer, StopSignal()

    with keeper.hold(claim, stop, deadline=LATER):
        keeper.renew()

    assert stop.reason is reason


def test_a_renewal_that_failed_is_made_up_for_by_the_next():
    jobs, keeper, claim = begin()
    jobs.away, stop = 1, StopSignal()

    with keeper.hold(claim, stop, deadline=LATER):
        with pytest.raises(CoordinatorUnavailable):
            keeper.renew()
        assert stop.reason is None
        jobs.hold = Hold.CANCELLED
        keeper.renew()

    assert stop.reason is StopReason.CANCELLED


def test_an_attempt_is_stopped_when_its_deadline_has_passed():
    _, keeper, claim = begin()
    stop = StopSignal()

    with keeper.hold(claim, stop, deadline=time.monotonic() - 1):
        keeper.stop_late()

    assert stop.reason is StopReason.DEADLINE


def test_every_attempt_at_a_cancelled_job_is_stopped_and_no_other():
    jobs, keeper, claim = begin()
    other = jobs.add_claim(make_spec(), "another question")
    stop, other_stop = StopSignal(), StopSignal()

    with keeper.hold(claim, stop, deadline=LATER), keeper.hold(other, other_stop, deadline=LATER):
        keeper.cancel(claim.job_id)

    assert (stop.reason, other_stop.reason) == (StopReason.CANCELLED, None)


def test_nothing_is_renewed_when_the_attempt_is_over():
    jobs, keeper, claim = begin()
    with keeper.hold(claim, StopSignal(), deadline=LATER):
        pass

    keeper.renew()

    assert jobs.renewals == 0


def test_a_later_attempt_keeps_its_lease_when_the_earlier_one_leaves():
    jobs, keeper, claim = begin()
    earlier, later = StopSignal(), StopSignal()
    first = keeper.hold(claim, earlier, deadline=LATER)
    first.__enter__()
    with keeper.hold(claim, later, deadline=LATER):
        first.__exit__(None, None, None)
        jobs.hold = Hold.CANCELLED
        keeper.renew()

    assert (earlier.reason, later.reason) == (None, StopReason.CANCELLED)


def test_what_is_renewed_with_the_lease_ends_with_its_block():
    _, keeper, claim = begin()
    renewed = []

    with keeper.hold(claim, StopSignal(), deadline=LATER):
        with keeper.renewing(claim, lambda: renewed.append(1)):
            keeper.renew()
        keeper.renew()

    assert renewed == [1]


def test_a_cancel_that_is_published_stops_the_attempt():
    _, keeper, claim = begin()
    stop = StopSignal()

    def published():
        yield claim.job_id
        raise SystemExit

    with keeper.hold(claim, stop, deadline=LATER), pytest.raises(SystemExit):
        CancelListener(published, keeper).listen()

    assert stop.reason is StopReason.CANCELLED


@pytest.mark.parametrize("fault", [CoordinatorUnavailable(), RuntimeError("secret"), KeyError(1)])
def test_renewing_goes_on_after_whatever_the_store_raises(fault):
    jobs, keeper, claim = begin()
    keeper = LeaseKeeper(jobs, renew_every_s=0.01)
    jobs.faults, stop = [fault], StopSignal()
    jobs.hold = Hold.CANCELLED

    with keeper.hold(claim, stop, deadline=LATER):
        for loop in keeper.loops:
            loop.start()
        wait_until(lambda: stop.reason, 10, "the renewal after the one that failed")

    for loop in keeper.loops:
        loop.stop(5)
    assert stop.reason is StopReason.CANCELLED


def test_a_claim_that_cannot_be_renewed_keeps_no_other_from_it():
    jobs, keeper, claim = begin()
    other = jobs.add_claim(make_spec(), "another question")
    jobs.poison, stop, other_stop = {claim.job_id}, StopSignal(), StopSignal()
    jobs.hold = Hold.CANCELLED

    with (
        keeper.hold(claim, stop, deadline=LATER),
        keeper.hold(other, other_stop, deadline=LATER),
        pytest.raises(ValueError, match="poison"),
    ):
        keeper.renew()

    assert (stop.reason, other_stop.reason) == (None, StopReason.CANCELLED)


def test_the_listener_for_cancels_goes_on_after_any_error():
    _, keeper, claim = begin()
    stop = StopSignal()
    rounds = iter([RuntimeError("secret"), ValueError("secret"), None])

    def published():
        fault = next(rounds)
        if fault is not None:
            raise fault
        yield None
        yield claim.job_id

    listener = CancelListener(published, keeper)
    with keeper.hold(claim, stop, deadline=LATER):
        while listener.loop.turn() and stop.reason is None:
            pass

    assert stop.reason is StopReason.CANCELLED
    assert listener.loop.health().failures == 0
