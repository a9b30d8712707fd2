"""The circuits of webhooks' receivers."""

from __future__ import annotations

import pytest

from workers.webhooks.receivers import Receivers


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def receivers(clock):
    return Receivers(clock=lambda: clock[0])


def fail(receivers, times):
    for _ in range(times):
        receivers.record("a", is_success=False)


def test_a_receiver_is_called_as_long_as_it_fails_seldom(receivers):
    for _ in range(10):
        fail(receivers, 4)
        receivers.record("a", is_success=True)
        assert (receivers.paused_s("a"), receivers.most_calls("a")) == (0.0, 4)


def test_failures_in_a_row_open_its_circuit_and_no_others(receivers, clock):
    fail(receivers, 5)

    assert receivers.paused_s("a") == 15.0
    assert (receivers.paused_s("b"), receivers.most_calls("b")) == (0.0, 4)
    clock[0] = 15.0
    assert (receivers.paused_s("a"), receivers.most_calls("a")) == (0.0, 1)


def test_each_further_failure_opens_it_for_longer_up_to_ten_minutes(receivers):
    pauses = []
    for _ in range(12):
        fail(receivers, 1)
        pauses.append(receivers.paused_s("a"))

    assert pauses[:4] == [0.0] * 4
    assert pauses[4:] == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


def test_one_success_closes_it(receivers, clock):
    fail(receivers, 7)
    clock[0] = 100.0

    receivers.record("a", is_success=True)

    assert (receivers.paused_s("a"), receivers.most_calls("a")) == (0.0, 4)
