"""A worker's claim to a job or slot, and what it writes under it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from core.events import NewEvent
from core.jobs import JobSpec, Question


class Hold(StrEnum):
    """Whether a write under a fence counted."""

    HELD = "held"
    #: Held, and the user wants the job to end.
    CANCELLED = "cancelled"
    #: Held, but the budgets cover no more text.
    UNFUNDED = "unfunded"
    #: Another attempt has the job; nothing was written.
    LOST = "lost"


class Claim(Struct, frozen=True, kw_only=True):
    """One attempt at a job, or at one slot of it; the fence makes its writes refusable.

    Attributes:
        slot: the name of a `core.team.Slot`; empty for the whole job.
        queued_ms: since when it stood in line.
        deadline_ms: when the attempt is cut.
        was_parked: it waited for another job that asked the same, until now.
        held_micros: what its budgets held for it before any was added.
        granted_micros: the same with what was added, by earlier attempts too.
        paid_micros: what attempts at it have used that gave it back.
    """

    spec: JobSpec
    question: Question
    fence: str
    attempt: int
    accepted_ms: int
    queued_ms: int = 0
    deadline_ms: int = 0
    slot: str = ""
    was_parked: bool = False
    held_micros: int = 0
    granted_micros: int = 0
    paid_micros: int = 0

    @property
    def job_id(self) -> str:
        return self.spec.id

    @property
    def work_id(self) -> str:
        """Name the job or slot, the same in every attempt at it."""
        return f"{self.spec.id}/{self.slot}"


class Batch(Struct, frozen=True):
    """Events on their way to a job's log.

    Attributes:
        number: counts the batches of an attempt from 1, so that one whose answer was lost can be
            sent again and is appended once; 0 for one that is never sent again.
        wanted_micros: what is to be held in all for a turn that has said this; None for no more.
    """

    events: Sequence[NewEvent] = ()
    number: int = 0
    wanted_micros: int | None = None


NO_EVENTS: Final = Batch()
