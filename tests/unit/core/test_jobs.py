"""A job's states and its public form."""

from __future__ import annotations

from core.ids import is_job_id, new_job_id, new_user_id, shard_of
from core.jobs import NEXT_STATUS, TERMINAL, TERMINAL_EVENT, Job, JobStatus, Question
from core.public import to_public
from core.timing import iso_time
from tests.jobs import make_spec


def test_every_status_can_reach_a_terminal_one():
    for status in JobStatus:
        reached, edge = {status}, {status}
        while edge:
            edge = {after for before in edge for after in NEXT_STATUS[before]} - reached
            reached |= edge

        assert reached & TERMINAL


def test_no_terminal_status_can_be_left():
    assert all(not NEXT_STATUS[status] for status in TERMINAL)
    assert set(TERMINAL_EVENT) == TERMINAL


def test_job_id_lies_in_the_shard_of_its_user():
    user_id = new_user_id()

    job_id = new_job_id(user_id)

    assert is_job_id(job_id)
    assert shard_of(job_id) == shard_of(user_id)


def test_foreign_strings_are_no_job_ids():
    assert not any(is_job_id(text) for text in ("", "job_", "job_" + "g" * 32, "x" * 36))
    assert not is_job_id(new_job_id(new_user_id()) + "\n")


def test_absent_parts_are_null_when_a_job_has_just_been_accepted():
    spec = make_spec(reserved_micros=900)

    public = to_public(Job(spec=spec, status=JobStatus.QUEUED, cursor=1))

    assert public["request"]["message"] is None
    assert public["answer"] is public["route"] is public["error"] is public["started_at"] is None
    assert public["cost"] == {
        "usd": 0.0,
        "reserved_usd": 0.0009,
        "saved_usd": 0.0,
        "saved": {"routing_usd": 0.0, "cache_usd": 0.0, "prompt_cache_usd": 0.0},
    }
    assert public["links"]["events"] == f"/api/ai/v4/jobs/{spec.id}/events"


def test_message_is_public_when_the_question_was_loaded():
    job = Job(spec=make_spec(), status=JobStatus.QUEUED, question=Question("Why?"))

    assert to_public(job)["request"]["message"] == "Why?"


def test_time_has_milliseconds_and_utc():
    assert iso_time(1_795_428_000_007) == "2026-11-23T10:00:00.007Z"
