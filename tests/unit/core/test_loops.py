"""A loop goes on whatever its step does, and says when it does not turn."""

from __future__ import annotations

import threading

import pytest
import structlog

from core.loops import Loop, LoopHealth
from tests.services import wait_until


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def failing(*faults):
    """Return a step that raises these, None for a turn, and turns ever after."""
    left = list(faults)

    def step():
        fault = left.pop(0) if left else None
        if fault is not None:
            raise fault

    return step


def test_steps_are_repeated_in_a_thread_until_the_loop_is_stopped():
    turns = []
    loop = Loop("a", lambda: turns.append(threading.current_thread().name), every_s=0.001)

    loop.start()
    loop.start()
    wait_until(lambda: len(turns) > 2, 10, "three turns")
    loop.stop(5)

    assert set(turns) == {"a"}
    assert not [thread for thread in threading.enumerate() if thread.name == "a"]


@pytest.mark.parametrize("fault", [RuntimeError("x"), KeyError("x"), OSError(), MemoryError()])
def test_the_thread_outlives_whatever_a_step_raises(fault):
    turned = threading.Event()
    steps = iter([failing(fault), turned.set])
    loop = Loop("a", lambda: next(steps, turned.set)(), every_s=0.001)

    loop.start()

    assert turned.wait(10)
    loop.stop(5)
    assert loop.health().failures == 0


def test_pauses_grow_with_each_failure_to_a_limit_and_end_with_a_turn():
    loop = Loop("a", failing(*[ValueError()] * 5), every_s=0.1)

    pauses = [loop.turn() for _ in range(6)]

    assert pauses == [0.5, 1.0, 2.0, 2.0, 2.0, 0.1]


def test_failures_are_counted_and_a_turn_forgets_them():
    loop = Loop("a", failing(ValueError(), ValueError()))

    found = [(loop.turn(), loop.health().failures)[1] for _ in range(3)]

    assert found == [1, 2, 0]


def test_a_loop_that_fails_is_stuck_after_a_while_and_no_longer_when_it_turns():
    clock = Clock()
    loop = Loop("a", failing(ValueError(), ValueError()), stuck_after_s=10, clock=clock)
    loop.mark_turn()
    loop.turn()
    clock.now += 10
    assert not loop.health().is_stuck

    clock.now += 2
    loop.turn()
    assert loop.health() == LoopHealth("a", still_s=12.0, failures=2, is_stuck=True)

    loop.turn()
    assert loop.health() == LoopHealth("a", still_s=0.0, failures=0, is_stuck=False)


def test_a_loop_whose_step_hangs_is_stuck_though_nothing_failed():
    clock, hangs = Clock(), threading.Event()
    loop = Loop("a", lambda: hangs.wait(30), every_s=1, stuck_after_s=10, clock=clock)
    loop.start()

    clock.now += 13

    assert loop.health() == LoopHealth("a", still_s=13.0, failures=0, is_stuck=True)
    hangs.set()
    wait_until(lambda: not loop.health().is_stuck, 10, "the step to end")
    loop.stop(5)


def test_a_long_step_that_says_so_is_not_stuck():
    clock = Clock()
    loop = Loop("a", lambda: None, clock=clock)
    loop.mark_turn()
    clock.now += 60

    loop.mark_turn()

    assert not loop.health().is_stuck


def test_a_loop_that_was_not_started_is_not_stuck():
    clock = Clock()
    loop = Loop("a", lambda: None, clock=clock)
    clock.now += 3600

    assert loop.health() == LoopHealth("a", still_s=0.0, failures=0, is_stuck=False)


def test_the_log_has_the_type_of_an_error_and_never_its_text():
    loop = Loop("a", failing(*[ValueError("what a user asked")] * 8))

    with structlog.testing.capture_logs() as logged:
        for _ in range(9):
            loop.turn()

    assert [line["failures"] for line in logged] == [1, 2, 4, 8, 8]
    assert {line.get("error") for line in logged} == {"ValueError", None}
    assert "asked" not in repr(logged)
