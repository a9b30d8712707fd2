"""When a model is called, under the budget that all workers share."""

from __future__ import annotations

import time

import pytest

from agents.rate_limited_model import RateLimitedModel
from core.chat import Allowance, Message, ModelRequest, RateLimits, StreamEnd, TextDelta, Usage
from core.model_errors import BudgetUsedUp, ModelTimeout, RateLimited, TurnStopped
from core.stop import StopReason, StopSignal

REQUEST = ModelRequest(
    model="m", messages=(Message("user", "x" * 35),), max_tokens=100, booking="job/"
)
#: 35 characters are 10 tokens, and the message's frame is 4.
BOOKED = 114
USAGE = Usage(input_tokens=12, output_tokens=8)
LIMITS = RateLimits(tokens=Allowance(limit=1_000, remaining=900, reset_s=6.0))
END = StreamEnd(finish_reason="stop", usage=USAGE, limits=LIMITS)


class CuedModel:
    """Answers each call with the given items; raises what is an exception."""

    def __init__(self, *items):
        self.items = items
        self.calls = 0

    def stream(self, request, *, deadline, stop):
        self.calls += 1
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


class FakeThrottle:
    """A throttle with a scripted wait for each booking; records bookings and settlements."""

    def __init__(self, *waits_s):
        self.waits_s = list(waits_s)
        self.booked = []
        self.settled = []

    def book(self, model_id, booking, *, tokens, longest_wait_s):
        self.booked.append((model_id, booking, tokens))
        return self.waits_s.pop(0) if self.waits_s else 0.0

    def settle(self, model_id, *, unused_tokens, limits, age_s, closed_for_s):
        self.settled.append((unused_tokens, limits, closed_for_s))


class RecordedStop(StopSignal):
    """A stop signal whose waits end at once; it can be stopped during the first of them."""

    def __init__(self, stops_with=None):
        super().__init__()
        self.stops_with = stops_with
        self.waits_s = []

    def wait(self, timeout_s):
        self.waits_s.append(timeout_s)
        if self.stops_with is not None:
            self.stop(self.stops_with)


def run(throttle, *items, request=REQUEST, stop=None, within_s=60.0):
    model = CuedModel(*items)
    stream = RateLimitedModel(model, throttle).stream(
        request, deadline=time.monotonic() + within_s, stop=stop or RecordedStop()
    )
    received = []
    error = None
    try:
        received.extend(stream)
    except (RateLimited, ModelTimeout, TurnStopped) as raised:
        error = raised
    return model, received, error


def test_call_is_booked_and_corrected_by_what_it_used():
    throttle = FakeThrottle()

    _, received, _ = run(throttle, TextDelta("answer"), END)

    assert received == [TextDelta("answer"), END]
    assert throttle.booked == [("m", "job/", BOOKED)]
    assert throttle.settled == [(BOOKED - 20, LIMITS, 0.0)]


def test_call_is_booked_again_under_the_same_name_after_a_short_wait():
    throttle, stop = FakeThrottle(0.2, 0.1), RecordedStop()

    model, received, _ = run(throttle, END, stop=stop)

    assert stop.waits_s == [0.2, 0.1]
    assert (model.calls, received) == (1, [END])
    assert [name for _, name, _ in throttle.booked] == ["job/"] * 3


def test_call_without_a_booking_name_keeps_a_random_one():
    throttle = FakeThrottle(0.01)
    nameless = ModelRequest(model="m", messages=REQUEST.messages, max_tokens=100)

    run(throttle, END, request=nameless)
    run(throttle, END, request=nameless)

    first, again, other = (name for _, name, _ in throttle.booked)
    assert first == again != other


def test_long_wait_is_raised_and_the_model_is_not_called():
    throttle = FakeThrottle(30.0)

    model, _, error = run(throttle, END)

    assert (model.calls, error.retry_after_s) == (0, 30.0)
    assert throttle.settled == []


def test_call_waits_in_line_where_others_come_first():
    throttle = FakeThrottle(-0.001)

    model, _, error = run(throttle, END)

    assert isinstance(error, BudgetUsedUp)
    assert (model.calls, error.retry_after_s, throttle.settled) == (0, 0.0, [])


def test_wait_ends_when_the_job_is_cancelled():
    throttle, stop = FakeThrottle(0.9, 0.9), RecordedStop(StopReason.CANCELLED)

    model, _, error = run(throttle, END, stop=stop)

    assert isinstance(error, TurnStopped)
    assert (model.calls, len(throttle.booked)) == (0, 1)


def test_nothing_is_booked_when_the_deadline_has_passed():
    throttle = FakeThrottle()

    _, _, error = run(throttle, END, within_s=0)

    assert isinstance(error, TurnStopped)
    assert throttle.booked == []


def test_refused_call_is_unbooked_and_closes_the_budget():
    throttle = FakeThrottle()

    _, _, error = run(throttle, RateLimited(retry_after_s=7.0))

    assert error.retry_after_s == 7.0
    assert throttle.settled == [(BOOKED, RateLimits(), 7.0)]


@pytest.mark.parametrize(
    ("items", "used_tokens"),
    [((ModelTimeout(),), 0), ((TextDelta("x" * 35), ModelTimeout()), 24)],
)
def test_broken_call_is_settled_by_the_text_that_came(items, used_tokens):
    throttle = FakeThrottle()

    run(throttle, *items)

    assert throttle.settled == [(BOOKED - used_tokens, RateLimits(), 0.0)]
