"""What a drill calls broken, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.drills.evidence import Evidence, JobEvidence, LogEntry, UserEvidence
from ops.drills.invariants import judge, text_of
from ops.drills.run import recovery_s

LOG = (
    LogEntry(1, "job.queued"),
    LogEntry(2, "job.started"),
    LogEntry(3, "answer.delta", "wrong "),
    LogEntry(4, "job.retrying"),
    LogEntry(5, "job.started"),
    LogEntry(6, "answer.delta", "right "),
    LogEntry(7, "answer.delta", "answer"),
    LogEntry(8, "job.completed"),
)
JOB = JobEvidence(
    job_id="job_0",
    status="completed",
    attempt=2,
    answer="right answer",
    accepted_s=10.0,
    finished_s=15.0,
    log=LOG,
    seen=tuple(range(1, 9)),
    record_status="completed",
    settlements=1,
)
USER = UserEvidence("usr_0", reserved_micros=0, spent_micros=7, settled_micros=7, active=0)


def judged(*, user=USER, log_survives=True, **changes):
    evidence = Evidence((replace(JOB, **changes),), (user,))
    return judge(evidence, log_survives=log_survives)


def figures(verdict):
    return (verdict.lost, verdict.duplicated, verdict.stuck, verdict.unbilled)


def test_nothing_is_broken_when_a_retried_job_has_ended_once():
    verdict = judged()

    assert verdict.has_passed
    assert (verdict.accepted, verdict.terminal) == (1, 1)
    assert figures(verdict) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": None}, (1, 0, 0, 0)),
        ({"settlements": 2}, (0, 1, 0, 0)),
        ({"log": (*LOG, LogEntry(9, "job.completed"))}, (0, 1, 0, 0)),
        ({"status": "in_progress"}, (0, 0, 1, 0)),
        ({"status": "queued"}, (0, 0, 1, 0)),
        ({"settlements": 0}, (0, 0, 0, 1)),
        ({"record_status": "queued"}, (0, 0, 0, 1)),
        ({"record_status": None}, (0, 0, 0, 1)),
    ],
)
def test_a_job_is_counted_when_it_breaks_a_promise(changes, expected):
    verdict = judged(**changes)

    assert figures(verdict) == expected
    assert not verdict.has_passed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"log": LOG[:2] + LOG[3:]}, "2 is followed by 4"),
        ({"log": LOG[1:]}, "0 is followed by 2"),
        ({"log": LOG[:-1]}, "0 terminal events"),
        ({"log": (*LOG[:-1], LogEntry(8, "job.completed"), LogEntry(9, "note"))}, "ends with note"),
        ({"log": ()}, "no log"),
        ({"answer": "right"}, "told 12 characters"),
        ({"answer": None}, "told 12 characters"),
        ({"seen": (1, 2, 4)}, "2 is followed by 4"),
        ({"seen": (1, 2, 2)}, "2 is followed by 2"),
        ({"left_over": ("dispatch",)}, "dispatch behind"),
    ],
)
def test_a_job_is_named_when_its_log_answer_or_remains_are_wrong(changes, said):
    verdict = judged(**changes)

    assert [violation.of for violation in verdict.violations] == ["job_0"]
    assert said in verdict.violations[0].what


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reserved_micros": 5}, "5 micro-dollars are still reserved"),
        ({"active": 1}, "1 jobs still count"),
        ({"spent_micros": 14}, "spent 14 micro-dollars, 7 by the ledger"),
    ],
)
def test_a_user_is_named_when_the_counters_are_wrong(change, said):
    (violation,) = judged(user=replace(USER, **change)).violations

    assert violation.of == "usr_0"
    assert said in violation.what


def test_a_lost_log_and_counter_are_forgiven_when_the_drill_removed_them():
    spent_anew = replace(USER, spent_micros=0)

    assert judged(log=(), user=spent_anew, log_survives=False).has_passed
    assert judged(seen=(1, 2, 7, 3), log_survives=False).has_passed


def test_a_submission_is_named_when_it_was_answered_twice():
    verdict = judge(Evidence((JOB,), (USER,), answered_twice=("3",)))

    assert verdict.duplicated == 1
    assert not verdict.has_passed


def test_a_drill_fails_when_no_job_was_accepted():
    assert not judge(Evidence((), ())).has_passed


def test_the_text_of_a_log_begins_anew_with_each_attempt():
    assert text_of(LOG[:3]) == "wrong "
    assert text_of(LOG) == "right answer"


@pytest.mark.parametrize(("fault_s", "expected"), [(12.0, 3.0), (16.0, 0.0), (9.0, 0.0)])
def test_recovery_counts_only_jobs_under_way_at_the_fault(fault_s, expected):
    assert recovery_s(Evidence((JOB,), ()), fault_s) == expected
