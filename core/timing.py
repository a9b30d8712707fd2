"""Points in time, and where a job's time went."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import ClassVar


def now_ms() -> int:
    """Return the current time as Unix milliseconds."""
    return int(time.time() * 1000)


def iso_time(unix_ms: int | None) -> str | None:
    """Return UTC with milliseconds, `2026-11-23T10:00:00.000Z`; None stays None."""
    if unix_ms is None:
        return None
    second = datetime.fromtimestamp(unix_ms // 1000, UTC).replace(tzinfo=None)
    return f"{second.isoformat()}.{unix_ms % 1000:03d}Z"


def unix_ms(iso: str) -> int:
    """Return a point in time that is written in ISO 8601 with its offset from UTC.

    Raises:
        ValueError: it is written otherwise.
    """
    found = datetime.fromisoformat(iso)
    if found.tzinfo is None:
        raise ValueError("a point in time needs its offset from UTC")
    return int(found.timestamp() * 1000)


class TimeAccount:
    """Where one job's time goes, in milliseconds from its submission.

    The parts of `PARTS` add up to `total`: what no other part took is `persist` (claiming, writing
    events, waiting for a processor). `first_token` is a point, not a part.
    """

    PARTS: ClassVar = ("accept", "queue", "route", "cache", "model", "synthesis", "persist")

    def __init__(self, created_ms: int, spent_ms: Mapping[str, int] | None = None) -> None:
        self._created_ms = created_ms
        self._spent_ms = dict(spent_ms or {})

    @property
    def spent_ms(self) -> dict[str, int]:
        """The parts recorded so far, to go on with in another process."""
        return dict(self._spent_ms)

    def record(self, part: str, took_ms: int) -> None:
        """Set what a part took; a negative value (clocks that differ) counts as none."""
        self._spent_ms[part] = max(0, took_ms)

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Add the block's duration to a part."""
        began = time.monotonic()
        try:
            yield
        finally:
            took_ms = round((time.monotonic() - began) * 1000)
            self.record(part, self._spent_ms.get(part, 0) + took_ms)

    def close(
        self, *, first_token_ms: int | None = None, rest: str = "persist", at_ms: int | None = None
    ) -> dict[str, int | None]:
        """Return every part, `first_token` and the total.

        Args:
            first_token_ms: when the answer began, after the model was asked.
            rest: the part that gets the time which no part was recorded for.
            at_ms: when the job ended, Unix milliseconds; now where None.
        """
        parts = {part: self._spent_ms.get(part, 0) for part in self.PARTS}
        # Parts are rounded by themselves, so they may be a millisecond more than the whole.
        total = max(sum(parts.values()), (now_ms() if at_ms is None else at_ms) - self._created_ms)
        parts[rest] += total - sum(parts.values())
        return {**parts, "first_token": first_token_ms, "total": total}
