"""One drill from its load to its verdict."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from ops.drills.evidence import Evidence, Violation, gather
from ops.drills.invariants import Verdict, judge
from ops.drills.load import Load
from ops.drills.registry import Drill
from ops.drills.target import Target
from ops.stack.readiness import wait_until

_READY_WITHIN_S: Final = 60.0
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
    """Start the load, inject the fault, wait for every job's end and check the invariants.

    Raises:
        CannotRun: the stack is not ready, or the load or a program did not get going.
    """
    wait_until(target.is_ready, _READY_WITHIN_S, f"{target.api_url} to get ready")
    target.reset_upstream()
    # A drill is repeatable by its seed.
    chooser = random.Random(seed)  # noqa: S311
    with Load(
        target.api_url, max_tokens=_STUB_MAX_TOKENS if target.stub_url else _REAL_MAX_TOKENS
    ) as load:
        load.start(
            [_question(load, number, drill, target, chooser) for number in range(jobs)],
            spread_s=drill.spread_s,
        )
        load.wait_until_answering(drill.answering)
        load.mark_fault()
        found = list(drill.act(target, load, chooser))
        load.wait_for_end()
        evidence = gather(target, load)
        verdict = judge(evidence, log_survives=drill.log_survives)
        return _to_result(drill, load, evidence, found, verdict)


def _question(load: Load, number: int, drill: Drill, target: Target, chooser: random.Random) -> str:
    question = f"Question {number} of drill {load.run}: how do I build a scalable web app?"
    return f"{question} [[stub:{drill.script(chooser)}]]" if target.stub_url else question


def _to_result(
    drill: Drill, load: Load, evidence: Evidence, found: list[str | Violation], verdict: Verdict
) -> Result:
    notes = [note for note in found if isinstance(note, str)]
    violations = [*verdict.violations, *(broken for broken in found if not isinstance(broken, str))]
    retried = sum(job.attempt > 1 for job in evidence.jobs)
    refused = sum(job.refusals for job in load.jobs)
    if retried:
        notes.append(f"{retried} jobs took more than one attempt")
    if refused:
        notes.append(f"{refused} submissions were refused for now")
    if verdict.accepted < len(load.jobs):
        notes.append(f"{len(load.jobs) - verdict.accepted} jobs were never accepted")
    if not verdict.accepted:
        violations.append(Violation("the load", "was not accepted at all, so nothing was tried"))
    return Result(
        drill=drill.name,
        verdict=replace(verdict, violations=tuple(violations)),
        recovery_s=load.recovery_s,
        statuses=Counter(job.status for job in evidence.jobs),
        errors=Counter(
            job.error_code for job in evidence.jobs if job.error_code not in ("", job.status)
        ),
        notes=tuple(notes),
    )
