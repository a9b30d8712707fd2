"""The stub upstream's rate limits: a sliding window of one minute."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

_WINDOW_S: Final = 60.0


class MinuteLimit:
    """Allows so many units in any 60 s, the strictest reading of a limit per minute.

    Args:
        kind: `requests` or `tokens`, for the names of the headers.
        most: units per minute; 0 for no limit.
    """

    def __init__(self, kind: str, most: int) -> None:
        self._kind = kind
        self._most = most
        self._allowed: deque[tuple[float, int]] = deque()

    def wait_s(self, units: int) -> float:
        """Return the seconds until so many units are allowed; 0 when they are now."""
        if not self._most:
            return 0.0
        over = self._used() + units - self._most
        if over <= 0:
            return 0.0
        for at, size in self._allowed:
            over -= size
            if over <= 0:
                return at + _WINDOW_S - time.monotonic()
        return _WINDOW_S

    def take(self, units: int) -> None:
        if self._most:
            self._allowed.append((time.monotonic(), units))

    def headers(self) -> dict[str, str]:
        """Return the `x-ratelimit-*` headers: limit, remaining units, seconds to the full limit."""
        if not self._most:
            return {}
        left = self._most - self._used()
        newest_at = self._allowed[-1][0] if self._allowed else -_WINDOW_S
        reset_s = max(0.0, newest_at + _WINDOW_S - time.monotonic())
        return {
            f"x-ratelimit-limit-{self._kind}": str(self._most),
            f"x-ratelimit-remaining-{self._kind}": str(left),
            f"x-ratelimit-reset-{self._kind}": f"{reset_s:.3f}s",
        }

    def _used(self) -> int:
        while self._allowed and self._allowed[0][0] <= time.monotonic() - _WINDOW_S:
            self._allowed.popleft()
        return sum(size for _, size in self._allowed)
