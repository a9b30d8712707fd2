"""Order, merging and repetition of the events of running jobs."""

from __future__ import annotations

import pytest

from core import events
from core.errors import CoordinatorUnavailable
from core.models import read_catalogue
from core.stop import StopReason, StopSignal
from storage.jobs.claims import Hold
from tests.fakes import InMemoryJobs, unbounded_spending
from tests.jobs import make_spec
from tests.services import wait_until
from workers.event_writer import FLUSH_CHARS, EventWriter

CATALOGUE = read_catalogue("groq")


def begin():
    jobs = InMemoryJobs()
    spec = jobs.add(make_spec(), "question")
    writer = EventWriter(jobs)
    stop = StopSignal()
    return jobs, writer, open_queue(writer, jobs.waiting.pop(spec.id), stop), stop


def open_queue(writer, claim, stop):
    return writer.open(claim, stop, unbounded_spending(CATALOGUE))


def texts(jobs):
    return [data.get("text") for log in jobs.logs.values() for _, data in log]


def test_the_first_text_is_written_at_once_behind_the_events_before_it():
    jobs, _, queue, _ = begin()

    queue.emit(events.agent_started("dev", "model", 1))
    queue.emit(events.answer_delta("dev", "first"))

    assert texts(jobs) == [None, "first"]


def test_later_text_is_merged_until_the_next_batch():
    jobs, writer, queue, _ = begin()
    for text in ("first", "sec", "ond"):
        queue.emit(events.answer_delta("dev", text))
    assert texts(jobs) == ["first"]

    writer.flush()

    assert texts(jobs) == ["first", "second"]


def test_long_text_is_written_without_waiting():
    jobs, _, queue, _ = begin()
    queue.emit(events.answer_delta("dev", "first"))

    queue.emit(events.answer_delta("dev", "x" * FLUSH_CHARS))

    assert texts(jobs) == ["first", "x" * FLUSH_CHARS]


def test_text_is_not_merged_across_speakers_or_other_events():
    jobs, writer, queue, _ = begin()
    queue.emit(events.answer_delta("dev", "first"))

    queue.emit(events.answer_delta("dev", "a"))
    queue.emit(events.answer_delta("luna", "b"))
    queue.emit(events.job_retrying("timeout", 1))
    queue.emit(events.answer_delta("luna", "c"))
    writer.flush()

    assert texts(jobs) == ["first", "a", "b", None, "c"]


def test_a_batch_that_redis_did_not_take_is_sent_again_unchanged_and_in_order():
    jobs, writer, queue, _ = begin()
    jobs.away = 1
    queue.emit(events.answer_delta("dev", "first"))
    queue.emit(events.answer_delta("dev", "second"))
    assert texts(jobs) == []

    writer.flush()
    writer.flush()

    assert texts(jobs) == ["first", "second"]


def test_what_was_not_acknowledged_is_handed_to_the_end_of_the_job():
    jobs, _, queue, _ = begin()
    jobs.away = 1
    queue.emit(events.answer_delta("dev", "first"))
    queue.emit(events.answer_delta("dev", "second"))

    unsure, unsent = queue.drain()

    assert [event.data["text"] for event in unsure.events] == ["first"]
    assert [event.data["text"] for event in unsent] == ["second"]
    assert not queue.has_pending


def test_several_jobs_share_one_batch():
    jobs, writer, queue, _ = begin()
    other = open_queue(writer, jobs.add_claim(make_spec(), "other"), StopSignal())
    for own in (queue, other):
        own.emit(events.job_started(1))

    writer.flush()

    assert [len(log) for log in jobs.logs.values()] == [1, 1]
    assert jobs.appends == 1


def test_the_attempt_is_stopped_when_the_log_says_that_it_is_over():
    jobs, _, queue, stop = begin()
    jobs.hold = Hold.LOST

    queue.emit(events.answer_delta("dev", "first"))

    assert stop.reason is StopReason.LOST


@pytest.mark.parametrize("fault", [CoordinatorUnavailable(), RuntimeError("secret"), KeyError(1)])
def test_writing_goes_on_after_whatever_the_store_raises(fault):
    jobs, writer, queue, _ = begin()
    jobs.faults = [fault, fault]
    writer.loop.start()

    queue.emit(events.answer_delta("dev", "first"))
    queue.emit(events.answer_delta("dev", "second"))

    wait_until(lambda: texts(jobs) == ["first", "second"], 10, "both texts")
    wait_until(lambda: not writer.loop.health().failures, 10, "the turn to end")
    writer.loop.stop(5)
    assert not jobs.faults


def test_events_that_cannot_be_stored_keep_no_other_job_from_writing():
    jobs, writer, queue, _ = begin()
    other_claim = jobs.add_claim(make_spec(), "other")
    other = open_queue(writer, other_claim, StopSignal())
    jobs.poison = {queue.claim.job_id}
    for own in (queue, other):
        own.emit(events.job_started(1))

    with pytest.raises(ValueError, match="poison"):
        writer.flush()

    assert {job: len(log) for job, log in jobs.logs.items()} == {other_claim.job_id: 1}
    assert queue.has_pending
    assert not other.has_pending
