"""What a drill and a fault test call broken, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.drills.evidence import Account, Evidence, JobEvidence, Violation
from ops.drills.invariants import judge
from ops.drills.load import Load, Tracked


def event(sequence, type_, **data):
    return {"sequence": sequence, "type": type_, "data": data}


def delta(sequence, text):
    return event(sequence, "answer.delta", agent="dev", text=text)


LOG = [
    event(1, "job.queued"),
    delta(2, "wrong "),
    event(3, "job.retrying", agent=None),
    delta(4, "right "),
    delta(5, "answer"),
    event(6, "job.completed"),
]
DONE = Account("completed", "right answer", 0.007)
JOB = JobEvidence(
    job_id="job_0",
    shown=DONE,
    live=DONE,
    recorded=DONE,
    settled_usd=(0.007,),
    log=LOG,
    seen=LOG,
)
OTHER = Account("completed", "right answer", 0.014)


def judged(*, log_survives=True, **changes):
    evidence = Evidence((replace(JOB, **changes),))
    return judge(evidence, log_survives=log_survives)


def figures(verdict):
    return (verdict.lost, verdict.duplicated, verdict.stuck, verdict.unbilled)


@pytest.mark.parametrize("changes", [{}, {"live": None}, {"seen": None}])
def test_nothing_is_broken_when_a_retried_job_has_ended_once(changes):
    verdict = judged(**changes)

    assert verdict.has_passed
    assert (verdict.accepted, verdict.terminal) == (1, 1)
    assert figures(verdict) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "expected", "said"),
    [
        ({"shown": None}, (1, 0, 0, 0), "lost"),
        ({"shown": DONE._replace(status="queued")}, (0, 0, 1, 0), "still queued"),
        ({"settled_usd": ()}, (0, 0, 0, 1), "settled by []"),
        ({"settled_usd": (0.007, 0.007)}, (0, 1, 0, 0), "settled by [0.007, 0.007]"),
        ({"settled_usd": (0.008,)}, (0, 0, 0, 0), "settled by [0.008]"),
        ({"recorded": None}, (0, 0, 0, 1), "no record"),
        ({"recorded": DONE._replace(status="failed")}, (0, 0, 0, 1), "'failed' in its record"),
        ({"recorded": DONE._replace(answer="wrong")}, (0, 0, 0, 0), "'wrong' in its record"),
        ({"live": DONE._replace(cost_usd=0.014)}, (0, 0, 0, 0), "0.014 in Redis"),
        ({"left_over": ("lease",)}, (0, 0, 0, 0), "lease behind"),
        ({"log": [], "seen": None}, (0, 0, 0, 0), "no log"),
        ({"log": LOG[:1] + LOG[2:], "seen": None}, (0, 0, 0, 0), "3 in place of 2"),
        ({"log": LOG[1:], "seen": None}, (0, 0, 0, 0), "2 in place of 1"),
        ({"log": LOG[:-1], "seen": None}, (0, 0, 0, 0), "0 terminal events"),
        ({"log": [*LOG, event(7, "job.failed")], "seen": None}, (0, 1, 0, 0), "2 terminal"),
        ({"log": [*LOG, delta(7, "")], "seen": None}, (0, 0, 0, 0), "ends with answer.delta"),
        ({"log": [*LOG[:4], *LOG[5:]], "seen": None}, (0, 0, 0, 0), "6 characters of answer"),
        ({"seen": LOG[:2] + LOG[3:]}, (0, 0, 0, 0), "given 4 in place of 3"),
        ({"seen": LOG[:2] + LOG[1:]}, (0, 0, 0, 0), "given 2 in place of 3"),
        ({"seen": LOG[:5]}, (0, 0, 0, 0), "given 1 to 5"),
        ({"seen": [*LOG[:4], delta(5, "other"), LOG[5]]}, (0, 0, 0, 0), "given 1 to 6"),
    ],
)
def test_a_job_is_named_and_counted_when_it_breaks_a_promise(changes, expected, said):
    verdict = judged(**changes)

    assert figures(verdict) == expected
    assert {violation.of for violation in verdict.violations} == {"job_0"}
    assert said in " ".join(violation.what for violation in verdict.violations)


def test_a_lost_log_is_forgiven_when_the_drill_removed_them():
    spent_anew = Evidence(
        (replace(JOB, log=[], seen=LOG[:2] + LOG[4:]),),
    )

    assert judge(spent_anew, log_survives=False).has_passed


@pytest.mark.parametrize(
    ("changes", "of", "duplicated"),
    [
        ({"jobs": (JOB, JOB)}, "job_0", 1),
        ({"answered_twice": ("3",)}, "submission 3", 1),
        ({"differences": (Violation("usr_0", "paid 7"),)}, "usr_0", 0),
        ({"leftovers": (Violation("aether:{0}:active:usr_0", "holds job_0"),)}, "aether", 0),
        ({"open_calls": 1}, "the upstream", 0),
    ],
)
def test_what_the_jobs_do_together_is_judged_too(changes, of, duplicated):
    verdict = judge(replace(Evidence((JOB,)), **changes))

    (violation,) = verdict.violations
    assert violation.of.startswith(of)
    assert verdict.duplicated == duplicated


@pytest.mark.parametrize(("fault_s", "expected"), [(12.0, 3.0), (16.0, 0.0), (9.0, 0.0)])
def test_recovery_counts_only_jobs_under_way_at_the_fault(fault_s, expected):
    with Load("http://nowhere", max_tokens=1) as load:
        load.jobs += [
            Tracked(None, accepted_s=10.0, ended_s=15.0),
            Tracked(None, accepted_s=10.0, ended_s=11.0),
        ]
        load.fault_s = fault_s

        assert load.recovery_s == expected
