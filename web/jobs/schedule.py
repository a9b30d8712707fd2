"""When a job may start and how long it waits, from what its request says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.errors import ExpiresBeforeRun, ExpiryInPast, InvalidTime
from core.jobs import default_expiry_ms
from core.timing import unix_ms

if TYPE_CHECKING:
    from web.jobs.schemas import AskRequest

_LONGEST_AHEAD_MS: Final = 30 * 24 * 3600 * 1000


class Schedule(Struct, frozen=True):
    """Unix milliseconds; None for at once and for never."""

    run_at_ms: int | None
    expires_at_ms: int | None


def schedule_of(request: AskRequest, now_ms: int, *, not_before_ms: int | None = None) -> Schedule:
    """Return when the job may start and when it is given up unless it has begun.

    Args:
        not_before_ms: when that starts which the job goes on with; None for at once.

    Raises:
        ExpiryInPast, ExpiresBeforeRun, InvalidTime: the times contradict each other or the clock.
    """
    run_at_ms = _to_ms(request.run_at, "run_at", now_ms)
    expires_at_ms = _to_ms(request.expires_at, "expires_at", now_ms)
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise ExpiryInPast(field="expires_at")
    if expires_at_ms is not None and run_at_ms is not None and expires_at_ms <= run_at_ms:
        raise ExpiresBeforeRun(field="expires_at")
    run_at_ms = max((at for at in (run_at_ms, not_before_ms) if at is not None), default=None)
    # A start that is past stands for at once.
    run_at_ms = run_at_ms if run_at_ms is not None and run_at_ms > now_ms else None
    default_ms = default_expiry_ms(run_at_ms or now_ms, is_batch=False)
    return Schedule(run_at_ms, default_ms if expires_at_ms is None else expires_at_ms)


def _to_ms(moment: str | None, field: str, now_ms: int) -> int | None:
    found = None if moment is None else unix_ms(moment)
    if found is not None and found > now_ms + _LONGEST_AHEAD_MS:
        raise InvalidTime(f"`{field}` must be at most 30 days ahead.", field=field)
    return found
