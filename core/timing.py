"""Points in time, and where a job's time went."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Return the current time as Unix milliseconds."""
    return int(time.time() * 1000)


def iso_time(unix_ms: int | None) -> str | None:
    """Return UTC with milliseconds, `2026-11-23T10:00:00.000Z`; None stays None."""
    if unix_ms is None:
        return None
    second = datetime.fromtimestamp(unix_ms // 1000, UTC).replace(tzinfo=None)
    return f"{second.isoformat()}.{unix_ms % 1000:03d}Z"
