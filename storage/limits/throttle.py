"""Counts what strangers may try: moving windows in Redis, by address and by account."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from core.limit_errors import TooManyTries
from core.timing import iso_time, now_ms
from storage import keys
from storage.scripts import WITH_LIMITS, Script

if TYPE_CHECKING:
    from redis import Redis


class Bound(Struct, frozen=True):
    """How often something may be tried in its window by whoever `owner` names."""

    window: Literal["failed_logins", "sign_ups"]
    owner: tuple[str, ...]
    limit: int


class Throttle:
    """Raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._count = Script(redis, "count", behind=WITH_LIMITS)

    def require(self, bounds: Sequence[Bound]) -> None:
        """Refuse where a window is full; nothing is counted.

        Raises:
            TooManyTries: it says when there is room again.
        """
        self._run(bounds, 0)

    def count(self, bounds: Sequence[Bound]) -> None:
        """Count one more in each window; raises as `require` where one is full."""
        self._run(bounds, 1)

    def _run(self, bounds: Sequence[Bound], amount: int) -> None:
        text = "\n".join(
            f"{keys.tries(_digest(bound.owner))} {bound.window} {bound.limit} {amount}"
            for bound in bounds
        )
        answer, *rest = self._count.run([], [text])
        if answer == b"limited":
            window, _, reset_ms = rest
            retry_after_s = max(1, -(-reset_ms // 1000))
            raise TooManyTries(
                f"Too many tries; try again in {retry_after_s} seconds.",
                limit=window.decode(),
                retry_after_s=retry_after_s,
                resets_at=iso_time(now_ms() + reset_ms),
            )


def _digest(owner: tuple[str, ...]) -> str:
    """Name an owner without his address or e-mail: keys are listed and logged."""
    return hashlib.sha256("\0".join(owner).encode()).hexdigest()[:32]
