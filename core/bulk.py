"""Acts on many jobs at once: what was asked, and how far it has come."""

from __future__ import annotations

import secrets
from typing import Final, Literal

from msgspec import Struct, field

from core.job_filter import JobFilter

BulkKind = Literal["cancel", "retry"]
BulkStatus = Literal["running", "completed", "expired"]
#: What a day's limits keep from its end is given up.
EXPIRES_AFTER_MS: Final = 24 * 3600 * 1000


class BulkAction(Struct, frozen=True, kw_only=True):
    """One act on all jobs of a user that met a filter; times are Unix milliseconds.

    Attributes:
        done: jobs that were cancelled, or asked again.
        skipped: those with which there was nothing to do any more, such as ended ones.
        refused: others, by the code of the error.
        waits_for: the code of the limit that it waits for, while it does.
        after: it goes on behind this job, by time and id; None before the first.
    """

    id: str
    user_id: str
    kind: BulkKind
    filter: JobFilter
    status: BulkStatus
    created_ms: int
    finished_ms: int | None = None
    done: int = 0
    skipped: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    waits_for: str | None = None
    after: tuple[int, str] | None = None


def new_action_id() -> str:
    return f"act_{secrets.token_hex(16)}"
