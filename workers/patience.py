"""Keeping what must not be lost while Redis is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from core.errors import CoordinatorUnavailable

#: How long a worker keeps the end of its work, at least, while Redis is away, in seconds.
_PATIENCE_S: Final = 60.0
_RETRY_S: Final = 0.5

T = TypeVar("T")


def retry_while_redis_is_away(call: Callable[[], T], *, until: float = 0.0) -> T:
    """Return what the call returns, repeating it while Redis is away or refuses.

    Args:
        until: `time.monotonic()` value until which it is repeated, and for a minute at least.

    Raises:
        CoordinatorUnavailable: Redis stayed away.
    """
    give_up_at = max(until, time.monotonic() + _PATIENCE_S)
    while True:
        try:
            return call()
        except CoordinatorUnavailable:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(_RETRY_S)
