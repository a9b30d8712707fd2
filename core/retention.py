"""How long what jobs leave behind is kept, by the plan under which they were submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field, structs

from core.jobs import Job, Question
from core.outcome import AgentReport, Outcome

_DAY_MS: Final = 24 * 3600 * 1000


class Retention(Struct, frozen=True, kw_only=True):
    """Days after a job's end, by the plan's name; a plan that is not named keeps for ever.

    Attributes:
        content: of questions, answers and events; 0 removes them as soon as they are on record.
        records: of all else that is known of a job; the ledger stays.
    """

    content: Mapping[str, int] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)

    def content_until_ms(self, job: Job) -> int | None:
        """Return when the content of an ended job is to go (Unix ms); None for never."""
        return _until(self.content, job)

    def record_until_ms(self, job: Job) -> int | None:
        """Return when the record of an ended job is to go (Unix ms); None for never."""
        return _until(self.records, job)


KEEP_ALL: Final = Retention()


def without_content(job: Job, at_ms: int) -> Job:
    """Return the job without what its user wrote and models answered, removed at `at_ms`."""
    return structs.replace(
        job,
        question=Question(""),
        outcome=None if job.outcome is None else _emptied(job.outcome),
        content_removed_ms=at_ms,
    )


def _emptied(outcome: Outcome) -> Outcome:
    answer, synthesis = outcome.answer, outcome.synthesis
    return structs.replace(
        outcome,
        answer=None if answer is None else structs.replace(answer, text=""),
        agents=tuple(_without_text(report) for report in outcome.agents),
        synthesis=None if synthesis is None else _without_text(synthesis),
    )


def _without_text(report: AgentReport) -> AgentReport:
    return structs.replace(report, text=None)


def _until(days_by_plan: Mapping[str, int], job: Job) -> int | None:
    days = days_by_plan.get(job.spec.plan)
    if days is None or job.finished_ms is None:
        return None
    return job.finished_ms + days * _DAY_MS
