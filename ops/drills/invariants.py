"""What has to hold once every accepted job should have ended, as rules over evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.events import TERMINAL_TYPES, answer_text
from core.jobs import TERMINAL
from ops.drills.evidence import Account, Event, Evidence, JobEvidence, Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A load's figures; all is well when there is no violation to explain."""

    accepted: int
    terminal: int
    lost: int
    duplicated: int
    stuck: int
    unbilled: int
    violations: tuple[Violation, ...]

    @property
    def has_passed(self) -> bool:
        return not self.violations


def judge(evidence: Evidence, *, log_survives: bool = True) -> Verdict:
    """Check every invariant.

    Args:
        log_survives: Redis kept its data, so that readers saw one log without a gap.
    """
    jobs = evidence.jobs
    ended = [job for job in jobs if job.status in TERMINAL]
    shared = [job_id for job_id, n in Counter(job.job_id for job in jobs).items() if n > 1]
    violations = [
        *(found for job in jobs for found in _of_job(job, log_survives=log_survives)),
        *(Violation(job_id, "is the job of two submissions") for job_id in shared),
        *(Violation(f"submission {n}", "was answered twice") for n in evidence.answered_twice),
        *evidence.leftovers,
        *evidence.differences,
    ]
    if evidence.open_calls:
        violations.append(
            Violation("the upstream", f"is left with {evidence.open_calls} open calls")
        )
    duplicated = [job for job in ended if len(job.settled_usd) > 1 or len(_ends(job.log)) > 1]
    return Verdict(
        accepted=len(jobs),
        terminal=len(ended),
        lost=sum(job.shown is None for job in jobs),
        duplicated=len(duplicated) + len(shared) + len(evidence.answered_twice),
        stuck=sum(job.shown is not None and job.status not in TERMINAL for job in jobs),
        unbilled=sum(_is_unbilled(job) for job in ended),
        violations=tuple(violations),
    )


def _is_unbilled(job: JobEvidence) -> bool:
    """Say whether an ended job lacks its settlement or the record of its end."""
    return not job.settled_usd or job.recorded is None or job.recorded.status != job.status


def _of_job(job: JobEvidence, *, log_survives: bool) -> Iterator[Violation]:
    if job.shown is None:
        yield Violation(job.job_id, "is lost: the API knows no such job")
    elif job.status not in TERMINAL:
        yield Violation(job.job_id, f"is stuck: still {job.status}")
    else:
        for what in _of_ended(job, job.shown, log_survives=log_survives):
            yield Violation(job.job_id, what)


def _of_ended(job: JobEvidence, shown: Account, *, log_survives: bool) -> Iterator[str]:
    if job.recorded is None:
        yield "has no record"
    for place, account in (("its record", job.recorded), ("Redis", job.live)):
        if account is not None:
            yield from _differences(shown, account, place)
    if job.settled_usd != (shown.cost_usd,):
        yield f"cost ${shown.cost_usd} and is settled by {list(job.settled_usd)}"
    for name in job.left_over:
        yield f"has ended and left its {name} behind"
    if job.log:
        yield from _of_log(job.log, shown.answer)
    if log_survives:
        yield from _of_reader(job)


def _of_reader(job: JobEvidence) -> Iterator[str]:
    if not job.log:
        yield "has no log any more"
    if job.seen is not None and job.seen != job.log:
        yield f"has {len(job.log)} events, of which its reader was given {_gap(job.seen)}"


def _differences(shown: Account, other: Account, place: str) -> Iterator[str]:
    for name, ours, theirs in zip(Account._fields, shown, other, strict=True):
        if ours != theirs:
            yield f"has the {name} {ours!r:.60}, but {theirs!r:.60} in {place}"


def _of_log(log: Sequence[Event], answer: str) -> Iterator[str]:
    if [event["sequence"] for event in log] != list(range(1, len(log) + 1)):
        yield f"has events that are not numbered 1 to {len(log)}, but {_gap(log)}"
    ends = _ends(log)
    if ends != [log[-1]]:
        yield f"has {len(ends)} terminal events, and its log ends with {log[-1]['type']}"
    text = answer_text((event["type"], event["data"]) for event in log)
    if text != answer:
        yield f"has events of {len(text)} characters of answer, which is not its answer"


def _ends(log: Sequence[Event]) -> list[Event]:
    return [event for event in log if event["type"] in TERMINAL_TYPES]


def _gap(events: Sequence[Event]) -> str:
    """Describe the first place where numbers do not go on by one, or else their range."""
    for expected, event in enumerate(events, start=1):
        if event["sequence"] != expected:
            return f"{event['sequence']} in place of {expected}"
    return f"1 to {len(events)}"
