"""What has to hold after every drill, as rules over evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.events import ANSWER_DELTA, JOB_RETRYING, TERMINAL_TYPES
from core.jobs import TERMINAL
from ops.drills.evidence import Evidence, JobEvidence, LogEntry, UserEvidence


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant: of which job or user, and how."""

    of: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A drill's figures; it passed when no violation is left to explain."""

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
        log_survives: the drill left Redis its data, so that readers saw one log without a gap and
            the month's counter is what the ledger says.
    """
    jobs = evidence.jobs
    ended = [job for job in jobs if job.status in TERMINAL]
    duplicated = [job for job in ended if is_duplicated(job)]
    violations = [
        *(found for job in jobs for found in of_job(job, log_survives=log_survives)),
        *(found for user in evidence.users for found in of_user(user, log_survives=log_survives)),
        *(Violation(f"submission {n}", "was answered twice") for n in evidence.answered_twice),
    ]
    if not jobs:
        violations.append(Violation("the load", "no job was accepted, so nothing was tried"))
    return Verdict(
        accepted=len(jobs),
        terminal=len(ended),
        lost=sum(job.status is None for job in jobs),
        duplicated=len(duplicated) + len(evidence.answered_twice),
        stuck=sum(job.status is not None and job.status not in TERMINAL for job in jobs),
        unbilled=sum(is_unbilled(job) for job in ended),
        violations=tuple(violations),
    )


def is_duplicated(job: JobEvidence) -> bool:
    return job.settlements > 1 or _ends(job.log) > 1


def is_unbilled(job: JobEvidence) -> bool:
    """Say whether an ended job lacks its settlement or the record of its end."""
    return job.settlements == 0 or job.record_status != job.status


def of_job(job: JobEvidence, *, log_survives: bool) -> Iterator[Violation]:
    """Yield what is wrong with one job."""
    if job.status is None:
        yield Violation(job.job_id, "is lost: the API knows no such job")
        return
    if job.status not in TERMINAL:
        yield Violation(job.job_id, f"is stuck: still {job.status}")
        return
    if job.settlements != 1:
        yield Violation(job.job_id, f"has {job.settlements} settlements")
    if job.record_status != job.status:
        yield Violation(job.job_id, f"is {job.status}, but {job.record_status} in its record")
    for name in job.left_over:
        yield Violation(job.job_id, f"has ended and left its {name} behind")
    for what in _wrong_with_log(job, log_survives=log_survives):
        yield Violation(job.job_id, what)


def of_user(user: UserEvidence, *, log_survives: bool) -> Iterator[Violation]:
    """Yield what is wrong with a user's counters."""
    if user.reserved_micros:
        yield Violation(user.user_id, f"{user.reserved_micros} micro-dollars are still reserved")
    if user.active:
        yield Violation(user.user_id, f"{user.active} jobs still count as unfinished")
    if log_survives and user.spent_micros != user.settled_micros:
        yield Violation(
            user.user_id,
            f"spent {user.spent_micros} micro-dollars, {user.settled_micros} by the ledger",
        )


def _wrong_with_log(job: JobEvidence, *, log_survives: bool) -> Iterator[str]:
    if not job.log:
        if log_survives:
            yield "has no log any more"
        return
    numbers = [entry.sequence for entry in job.log]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"has events that are not numbered 1 to {len(numbers)}: {_gap(numbers)}"
    if _ends(job.log) != 1 or job.log[-1].type not in TERMINAL_TYPES:
        yield f"has {_ends(job.log)} terminal events, its log ends with {job.log[-1].type}"
    told = text_of(job.log)
    if told != (job.answer or ""):
        yield f"told {len(told)} characters, its answer has {len(job.answer or '')} or others"
    seen = list(job.seen)
    if log_survives and not job.has_snapshot and seen != list(range(1, len(seen) + 1)):
        yield f"was streamed with a gap or a repeat: {_gap(seen)}"


def text_of(log: tuple[LogEntry, ...]) -> str:
    """Return the answer that a log tells: the deltas since the last attempt began."""
    text: list[str] = []
    for entry in log:
        if entry.type == JOB_RETRYING:
            text = []
        elif entry.type == ANSWER_DELTA:
            text.append(entry.text)
    return "".join(text)


def _ends(log: tuple[LogEntry, ...]) -> int:
    return sum(entry.type in TERMINAL_TYPES for entry in log)


def _gap(numbers: list[int]) -> str:
    """Describe the first place where numbers do not go on by one."""
    for before, number in zip([0, *numbers], numbers, strict=False):
        if number != before + 1:
            return f"{before} is followed by {number}"
    return "none"
