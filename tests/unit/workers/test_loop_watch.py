"""A worker reports how its loops do, and ends only for those that cannot be brought back."""

from __future__ import annotations

import pytest

from core.errors import CoordinatorUnavailable
from core.loops import Loop
from workers.loop_watch import LoopWatch


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Reports:
    """Reports in memory; refused while `is_away`."""

    def __init__(self) -> None:
        self.written = {}
        self.is_away = False

    def write(self, worker, loops):
        if self.is_away:
            raise CoordinatorUnavailable
        self.written[worker] = [health.name for health in loops if health.is_stuck]


class Watched:
    """A watch over the loops `good` and `bad`, of which the test turns what it wants."""

    def __init__(self) -> None:
        self.clock, self.reports, self.ends = Clock(), Reports(), []
        self.good, self.bad = (Loop(n, lambda: None, clock=self.clock) for n in ("good", "bad"))
        loops = (self.good, self.bad)
        self.watch = LoopWatch(
            self.reports, loops, end=lambda: self.ends.append(self.clock.now), clock=self.clock
        )
        for loop in loops:
            loop.mark_turn()

    def pass_by(self, seconds, *turning):
        for _ in range(0, seconds, 5):
            self.clock.now += 5
            for loop in turning:
                loop.turn()
            try:
                self.watch.look()
            except CoordinatorUnavailable:
                assert self.reports.is_away


@pytest.fixture
def watched():
    return Watched()


def test_the_loops_that_do_not_turn_are_reported(watched):
    watched.pass_by(30, watched.good)

    assert watched.reports.written == {"": ["bad"]}
    assert watched.ends == []


def test_the_process_ends_once_when_a_loop_has_not_turned_for_a_minute(watched):
    watched.pass_by(300, watched.good)

    assert watched.ends == [70]


def test_the_process_stays_when_every_loop_turns_again_in_time(watched):
    watched.pass_by(55, watched.good)
    watched.pass_by(300, watched.good, watched.bad)

    assert watched.ends == []


def test_an_absence_of_redis_is_no_reason_to_end_however_long(watched):
    watched.reports.is_away = True
    watched.pass_by(600)
    assert watched.ends == []

    watched.reports.is_away = False
    watched.pass_by(30)
    watched.pass_by(300, watched.good, watched.bad)

    assert watched.ends == []
