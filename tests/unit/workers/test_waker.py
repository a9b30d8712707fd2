"""Work whose time has come enters its lines, and wake-ups follow for what nobody takes."""

from __future__ import annotations

import pytest

from core.errors import CoordinatorUnavailable
from tests.fakes import SentWakeUps
from workers.queue import BrokerAway
from workers.upkeep.waker import Waker


class DueLines:
    """Lines with so many units that are due, and so many that may start by their kind."""

    def __init__(self, *, due=0, ready=None, is_away=False):
        self.due = due
        self.ready = ready or {}
        self.is_away = is_away
        self.entered = []

    def enter_due(self, *, most):
        if self.is_away:
            raise CoordinatorUnavailable
        count = min(self.due, most)
        self.due -= count
        self.entered.append(count)
        return count, count

    def count_ready(self, *, most):
        assert self.due == 0, "what is due is to be in line before it is counted"
        return {kind: min(count, most) for kind, count in self.ready.items()}


class QueuedWakeUps(SentWakeUps):
    """Wake-ups of which so many wait that no worker has taken; None where the broker is away."""

    def __init__(self, waiting=0):
        super().__init__()
        self.waiting = waiting
        self.looks = 0

    def count_waiting(self):
        self.looks += 1
        if self.waiting is None:
            raise BrokerAway
        return self.waiting


READY = {"quick": 2, "agent": 1}


def test_a_wake_up_is_published_for_each_unit_that_may_start():
    wake_ups = QueuedWakeUps()

    Waker(DueLines(ready=READY), wake_ups).run()

    assert wake_ups.sent == READY


def test_no_more_than_a_bounded_number_is_woken_at_once():
    wake_ups = QueuedWakeUps()

    Waker(DueLines(ready={"run": 1_000}), wake_ups).run()

    assert wake_ups.sent == {"run": 64}


@pytest.mark.parametrize("waiting", [1, 100])
def test_nothing_is_published_while_others_wait_in_the_queues(waiting):
    wake_ups = QueuedWakeUps(waiting)

    Waker(DueLines(ready=READY), wake_ups).run()

    assert wake_ups.sent == {}


def test_nothing_is_published_when_the_broker_is_away():
    wake_ups = QueuedWakeUps(None)
    lines = DueLines(due=3, ready=READY)

    Waker(lines, wake_ups).run()

    assert (wake_ups.sent, lines.due) == ({}, 0)


def test_the_broker_is_not_asked_when_nothing_may_start():
    wake_ups = QueuedWakeUps()

    Waker(DueLines(), wake_ups).run()

    assert (wake_ups.looks, wake_ups.sent) == (0, {})


@pytest.mark.parametrize(
    ("due", "entered"),
    [(0, [0]), (499, [499]), (500, [500, 0]), (1_250, [500, 500, 250])],
)
def test_all_that_is_due_enters_its_lines_however_much_it_is(due, entered):
    lines = DueLines(due=due, ready=READY)

    Waker(lines, QueuedWakeUps()).run()

    assert lines.entered == entered


def test_the_error_passes_through_when_redis_is_away():
    with pytest.raises(CoordinatorUnavailable):
        Waker(DueLines(is_away=True), QueuedWakeUps()).run()
