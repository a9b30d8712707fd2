"""How a thread of a worker comes to its next unit, with the lines in memory and a clock by hand."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from core.errors import CoordinatorUnavailable, SlotUnavailable, StoreUnavailable
from core.team import Slot, TeamPlan, end_of
from storage.jobs.lines import NobodyNext
from storage.jobs.teams import SlotClaim
from tests.fakes import InMemoryJobs
from tests.jobs import make_spec
from tests.services import wait_until
from workers.intake import Intake, serve


class GivenLines:
    """Gives out what it was given, in order; then says that nobody is next.

    An item that is an exception is raised. `bell` is what happens while a thread waits.
    """

    def __init__(self, *found, bell=lambda timeout_s: None):
        self.found = list(found)
        self.bell = bell
        self.waiters, self.waits = [], []

    def claim_next(self, waiter):
        self.waiters.append(waiter)
        found = self.found.pop(0) if self.found else NobodyNext()
        if isinstance(found, Exception):
            raise found
        return found

    def wait_for_bell(self, timeout_s):
        self.waits.append(timeout_s)
        self.bell(timeout_s)


class Clock:
    """A clock that goes on by hand, in seconds."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def claims(count):
    jobs = InMemoryJobs()
    return [jobs.add_claim(make_spec(), "question") for _ in range(count)]


def slot_claim(slot):
    plan = TeamPlan(members=(), reason="", rounds=1, quorum=1, started_ms=1, timing_ms={})
    (claim,) = claims(1)
    return SlotClaim(claim=claim, slot=slot, plan=plan, started_ms=1)


def intake_of(lines, do=lambda found: None, *, threads=8, clock=None):
    return Intake(lines, do, name="process", threads=threads, clock=clock or Clock())


def test_a_thread_serves_one_unit_after_another_in_their_order():
    found, served = claims(3), []

    intake_of(GivenLines(*found), served.append).run()

    assert served == found


def test_a_thread_waits_for_the_bell_once_and_then_leaves():
    lines = GivenLines()

    intake_of(lines).run()

    assert lines.waits == [1.0]
    assert [(waiter.wait_s, waiter.has_waited) for waiter in lines.waiters] == [
        (1.0, False),
        (0.0, True),
    ]


def test_a_thread_may_wait_again_after_it_has_served():
    lines = GivenLines(NobodyNext(), *claims(1))

    intake_of(lines).run()

    assert lines.waits == [1.0, 1.0]


@pytest.mark.parametrize(("opens_in_s", "wait_s"), [(0.25, 0.25), (7.0, 1.0)])
def test_a_thread_waits_no_longer_than_a_model_is_closed_and_then_once_more(opens_in_s, wait_s):
    lines = GivenLines(NobodyNext(opens_in_s))

    intake_of(lines).run()

    assert lines.waits == [wait_s, 1.0]


def test_a_thread_goes_back_to_celery_after_thirty_seconds():
    clock, served, found = Clock(), [], claims(9)

    def take_ten_seconds(unit):
        served.append(unit)
        clock.now += 10

    intake_of(GivenLines(*found), take_ten_seconds, clock=clock).run()

    assert served == found[:3]


def test_a_thread_whose_time_passes_while_it_waits_asks_once_more():
    clock = Clock()

    def pass_time(timeout_s):
        clock.now += 30

    lines = GivenLines(bell=pass_time)

    intake_of(lines, clock=clock).run()

    assert [waiter.has_waited for waiter in lines.waiters] == [False, True]


def test_nothing_more_is_begun_when_the_process_is_about_to_end():
    found, served = claims(3), []

    def stop_after(unit):
        served.append(unit)
        intake.stop()

    lines = GivenLines(*found)
    intake = intake_of(lines, stop_after)
    intake.run()
    intake.run()

    assert (served, lines.found) == (found[:1], found[1:])


def test_thirty_two_threads_wait_at_most_and_a_place_is_free_again_when_one_leaves():
    may_leave = threading.Event()
    lines = GivenLines(bell=lambda timeout_s: may_leave.wait(30))
    intake = intake_of(lines, threads=40)

    with ThreadPoolExecutor(32) as pool:
        runs = [pool.submit(intake.run) for _ in range(32)]
        try:
            wait_until(lambda: len(lines.waits) == 32, 10, "all threads to wait")
            intake.run()
            last = lines.waiters[-1]
        finally:
            may_leave.set()
        for run in runs:
            run.result()
    intake.run()

    assert (last.wait_s, last.has_waited) == (0.0, False)
    assert len(lines.waits) == 33
    assert len({waiter.name for waiter in lines.waiters}) == 33


@pytest.mark.parametrize(
    ("threads", "kept"), [(1, 0), (2, 1), (3, 1), (4, 2), (8, 2), (20, 2), (30, 3), (100, 10)]
)
def test_the_last_free_threads_are_kept_a_tenth_and_two_at_least_but_half_at_most(threads, kept):
    lines = GivenLines(*claims(threads))

    def serve_the_next(unit):
        # Each call stands for another thread, which asks while the ones before it serve.
        if lines.found:
            intake.run()

    intake = intake_of(lines, serve_the_next, threads=threads)
    intake.run()

    asked = [waiter.is_kept for waiter in lines.waiters[:threads]]
    assert asked == [False] * (threads - kept) + [True] * kept


def test_a_thread_is_kept_no_longer_when_the_others_have_served():
    lines = GivenLines(*claims(2))
    intake = intake_of(lines, threads=1)

    intake.run()

    assert not any(waiter.is_kept for waiter in lines.waiters)


class Served:
    """Stands for those who do the work; `fault` is what they raise at first."""

    def __init__(self, fault=None):
        self.fault = fault
        self.units = []

    def run(self, found):
        self.units.append(found)
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault


@pytest.mark.parametrize("fault", [SlotUnavailable(), StoreUnavailable(), CoordinatorUnavailable()])
def test_the_next_unit_is_served_when_the_one_before_cannot_be(fault):
    found, jobs = claims(2), Served(fault)
    serve_one = partial(serve, jobs=jobs, turns=Served(), ends=Served())

    intake_of(GivenLines(*found), serve_one).run()

    assert jobs.units == found


def test_jobs_turns_and_ends_of_rounds_are_served_by_those_who_do_such_work():
    (job,) = claims(1)
    turn, end = slot_claim(Slot(1, "dev")), slot_claim(end_of(1))
    jobs, turns, ends = Served(), Served(), Served()

    intake_of(GivenLines(job, turn, end), partial(serve, jobs=jobs, turns=turns, ends=ends)).run()

    assert (jobs.units, turns.units, ends.units) == ([job], [turn], [end])


def test_an_error_is_not_kept_from_celery_when_redis_is_away():
    lines = GivenLines(CoordinatorUnavailable())
    intake = intake_of(lines)

    with pytest.raises(CoordinatorUnavailable):
        intake.run()
    intake.run()

    # The thread that failed waits no more, so another one may.
    assert lines.waits == [1.0]


def test_a_thread_is_free_again_when_serving_fails_by_a_bug():
    lines = GivenLines(*claims(1))
    intake = intake_of(lines, Served(ZeroDivisionError()).run, threads=2)

    with pytest.raises(ZeroDivisionError):
        intake.run()
    intake.run()

    assert not lines.waiters[-1].is_kept
