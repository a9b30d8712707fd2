"""One drill from its load to its verdict."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from ops.drills.evidence import Evidence, gather
from ops.drills.faults import Found
from ops.drills.invariants import Verdict, Violation, judge
from ops.drills.load import Load, scripts
from ops.drills.registry import Drill
from ops.drills.target import Target
from ops.stack.state import CannotRun

_READY_WITHIN_S: Final = 60.0
_HUNG_UP_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.2
#: The stub counts tokens as its scripts say; a real model is to answer in a few words.
_STUB_MAX_TOKENS: Final = 1024
_REAL_MAX_TOKENS: Final = 96


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a drill.

    Attributes:
        recovery_s: from the fault to the end of the last job that was under way then.
        statuses: how many jobs ended how; error codes in `errors`.
    """

    drill: str
    verdict: Verdict
    recovery_s: float
    statuses: Counter[str]
    errors: Counter[str]
    notes: tuple[str, ...]


def run_drill(drill: Drill, target: Target, *, jobs: int, seed: int) -> Result:
    """Run the load, do the harm, wait for every job's end and judge.

    Raises:
        CannotRun: the stack is not ready, or the load or a program did not get going.
    """
    _await_ready(target)
    target.reset_upstream()
    load = Load(
        target.api_url,
        scripts(jobs, seed, drill.script, is_scripted=bool(target.stub_url)),
        max_tokens=_STUB_MAX_TOKENS if target.stub_url else _REAL_MAX_TOKENS,
        spread_s=drill.spread_s,
    )
    try:
        load.start()
        chooser = random.Random(seed)  # noqa: S311 - a drill is repeatable by its seed
        found = drill.act(target, load, chooser)
        load.wait_for_end()
        evidence = gather(target, load)
    finally:
        load.close()
    verdict = judge(evidence, log_survives=drill.log_survives)
    broken = (*verdict.violations, *found.violations, *_open_calls(target))
    return _to_result(drill, load, evidence, found, replace(verdict, violations=broken))


def recovery_s(evidence: Evidence, fault_s: float) -> float:
    """Return how long the last affected job took; 0 when none was affected."""
    ends = [
        job.finished_s
        for job in evidence.jobs
        if job.finished_s is not None and job.accepted_s <= fault_s < job.finished_s
    ]
    return max(ends) - fault_s if ends else 0.0


def _to_result(
    drill: Drill, load: Load, evidence: Evidence, found: Found, verdict: Verdict
) -> Result:
    notes = list(found.notes)
    retried = sum(job.attempt > 1 for job in evidence.jobs)
    paused = sum(job.pauses for job in load.jobs)
    if retried:
        notes.append(f"{retried} jobs took more than one attempt")
    if paused:
        notes.append(f"submitting was told to come back {paused} times")
    if verdict.accepted < len(load.jobs):
        notes.append(f"{len(load.jobs) - verdict.accepted} jobs were never accepted")
    return Result(
        drill=drill.name,
        verdict=verdict,
        recovery_s=recovery_s(evidence, load.fault_s),
        statuses=Counter(job.status or "lost" for job in evidence.jobs),
        errors=Counter(
            job.error_code for job in evidence.jobs if job.error_code not in ("", job.status)
        ),
        notes=tuple(notes),
    )


def _open_calls(target: Target) -> tuple[Violation, ...]:
    """Say whether the upstream still answers somebody although every job has ended."""
    if not (target.stub_url and target.is_own):
        return ()
    deadline = time.monotonic() + _HUNG_UP_WITHIN_S
    while in_flight := target.upstream()["in_flight"]:
        if time.monotonic() > deadline:
            return (Violation("the upstream", f"is left with {in_flight} open calls"),)
        time.sleep(_POLL_S)
    return ()


def _await_ready(target: Target) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not target.is_ready():
        if time.monotonic() > deadline:
            raise CannotRun(f"{target.api_url} did not get ready within {_READY_WITHIN_S:.0f} s.")
        time.sleep(_POLL_S)
