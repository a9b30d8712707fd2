"""The stub upstream's rate limits: so much in any minute, and not a request more."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

_WINDOW_S: Final = 60.0


class MinuteLimit:
    """What was let through in the last minute; the strictest way to count, whatever the cut.

    Args:
        kind: `requests` or `tokens`, as the headers call it.
        most: units in a minute; 0 for no limit.
    """

    def __init__(self, kind: str, most: int) -> None:
        self._kind = kind
        self._most = most
        self._let_through: deque[tuple[float, int]] = deque()

    def wait_s(self, units: int) -> float:
        """Return after how long so many units fit in; 0 when they do now."""
        if not self._most:
            return 0.0
        over = self._used() + units - self._most
        if over <= 0:
            return 0.0
        for at, size in self._let_through:
            over -= size
            if over <= 0:
                return at + _WINDOW_S - time.monotonic()
        return _WINDOW_S

    def take(self, units: int) -> None:
        if self._most:
            self._let_through.append((time.monotonic(), units))

    def headers(self) -> dict[str, str]:
        """Return the limit, what is left of it, and when all of it is there again."""
        if not self._most:
            return {}
        left = self._most - self._used()
        newest_at = self._let_through[-1][0] if self._let_through else -_WINDOW_S
        reset_s = max(0.0, newest_at + _WINDOW_S - time.monotonic())
        return {
            f"x-ratelimit-limit-{self._kind}": str(self._most),
            f"x-ratelimit-remaining-{self._kind}": str(left),
            f"x-ratelimit-reset-{self._kind}": f"{reset_s:.3f}s",
        }

    def _used(self) -> int:
        while self._let_through and self._let_through[0][0] <= time.monotonic() - _WINDOW_S:
            self._let_through.popleft()
        return sum(size for _, size in self._let_through)
