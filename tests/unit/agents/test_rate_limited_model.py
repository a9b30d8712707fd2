"""When a model is asked, by the budget that all workers share."""

from __future__ import annotations

import threading
import time

import pytest

from agents.rate_limited_model import RateLimitedModel
from core.chat import Allowance, Message, ModelRequest, RateLimits, StreamEnd, TextDelta, Usage
from core.errors import ModelTimeout, RateLimited, TurnStopped
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
        self.asked = 0

    def stream(self, request, *, deadline, stop):
        self.asked += 1
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


class Line:
    """A throttle with one answer for each time that it is asked; notes what it is told."""

    def __init__(self, *waits_s):
        self.waits_s = list(waits_s)
        self.booked = []
        self.settled = []

    def book(self, model_id, booking, *, tokens, longest_wait_s):
        self.booked.append((model_id, booking, tokens))
        return self.waits_s.pop(0) if self.waits_s else 0.0

    def settle(self, model_id, *, unused_tokens, limits, age_s, closed_for_s):
        self.settled.append((unused_tokens, limits, closed_for_s))


def ask(line, *items, request=REQUEST, stop=None, within_s=60.0):
    model = CuedModel(*items)
    stream = RateLimitedModel(model, line).stream(
        request, deadline=time.monotonic() + within_s, stop=stop or StopSignal()
    )
    heard: list[object] = []
    error = None
    try:
        heard.extend(stream)
    except (RateLimited, ModelTimeout, TurnStopped) as raised:
        error = raised
    return model, heard, error


def test_call_is_booked_and_corrected_by_what_it_used():
    line = Line()

    _, heard, _ = ask(line, TextDelta("answer"), END)

    assert heard == [TextDelta("answer"), END]
    assert line.booked == [("m", "job/", BOOKED)]
    assert line.settled == [(BOOKED - 20, LIMITS, 0.0)]


def test_short_wait_is_waited_and_asked_for_again_under_the_same_name():
    line = Line(0.2, 0.1)
    began = time.monotonic()

    model, heard, _ = ask(line, END)

    assert time.monotonic() - began >= 0.3
    assert (model.asked, heard) == (1, [END])
    assert [name for _, name, _ in line.booked] == ["job/"] * 3


def test_call_without_a_name_keeps_one_for_its_wait():
    line = Line(0.01)
    nameless = ModelRequest(model="m", messages=REQUEST.messages, max_tokens=100)

    ask(line, END, request=nameless)
    ask(line, END, request=nameless)

    first, again, other = (name for _, name, _ in line.booked)
    assert first == again != other


def test_long_wait_gives_the_slot_back_and_nothing_is_asked():
    line = Line(30.0)

    model, _, error = ask(line, END)

    assert (model.asked, error.retry_after_s) == (0, 30.0)
    assert line.settled == []


def test_wait_ends_when_the_job_is_cancelled():
    line, stop = Line(*[2.0] * 100), StopSignal()
    threading.Timer(0.1, stop.stop, [StopReason.CANCELLED]).start()

    model, _, error = ask(line, END, stop=stop)

    assert isinstance(error, TurnStopped)
    assert (model.asked, len(line.booked)) == (0, 1)


def test_nothing_is_booked_when_the_deadline_has_passed():
    line = Line()

    _, _, error = ask(line, END, within_s=0)

    assert isinstance(error, TurnStopped)
    assert line.booked == []


def test_refused_call_is_given_back_and_closes_the_budget():
    line = Line()

    _, _, error = ask(line, RateLimited(retry_after_s=7.0))

    assert error.retry_after_s == 7.0
    assert line.settled == [(BOOKED, RateLimits(), 7.0)]


@pytest.mark.parametrize(
    ("items", "used_tokens"),
    [((ModelTimeout(),), 0), ((TextDelta("x" * 35), ModelTimeout()), 24)],
)
def test_broken_call_is_corrected_by_what_it_brought(items, used_tokens):
    line = Line()

    ask(line, *items)

    assert line.settled == [(BOOKED - used_tokens, RateLimits(), 0.0)]
