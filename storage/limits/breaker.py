"""A circuit breaker for each model, shared by all workers through Redis."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from core.errors import CoordinatorUnavailable
from storage import keys
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

logger = structlog.get_logger(__name__)

_WINDOW_MS: Final = 30_000
_FEWEST_CALLS: Final = 20
_OPENING_SHARE: Final = 0.5
_OPEN_MS: Final = 15_000
_PROBE_MS: Final = 10_000
#: How long a process uses the state it knows and collects successes before it reports, in seconds.
_REPORT_EVERY_S: Final = 1.0


class SharedBreaker:
    """Opens when half of at least 20 calls in 30 s failed; after 15 s one call probes the model.

    Without Redis every model is allowed: the breaker saves useless calls, nothing depends on it.
    """

    def __init__(self, redis: Redis) -> None:
        self._script = Script(redis, "breaker")
        self._lock = threading.Lock()
        self._successes: dict[str, int] = {}
        self._known: dict[str, tuple[str, float]] = {}

    def allows(self, model_id: str) -> bool:
        """Say whether the model may be called now; only one caller may probe."""
        state, until = self._known.get(model_id, ("closed", 0.0))
        if state != "closed" or time.monotonic() >= until:
            state = self._report(model_id, failures=0)
        return state != "open"

    def record(self, model_id: str, *, is_success: bool) -> None:
        """Count a call; failures are reported at once, successes with the next report."""
        if not is_success:
            self._report(model_id, failures=1)
            return
        with self._lock:
            self._successes[model_id] = self._successes.get(model_id, 0) + 1
        if self._known.get(model_id, ("closed", 0.0))[0] != "closed":
            self._report(model_id, failures=0)

    def _report(self, model_id: str, *, failures: int) -> str:
        with self._lock:
            successes = self._successes.pop(model_id, 0)
        limits = [_WINDOW_MS, _FEWEST_CALLS, _OPENING_SHARE, _OPEN_MS, _PROBE_MS]
        try:
            answer = self._script.run([keys.breaker(model_id)], [successes, failures, *limits])
            state = str(answer.decode())
        except CoordinatorUnavailable:
            state = "closed"
        if state != self._known.get(model_id, ("closed", 0.0))[0]:
            logger.warning("circuit changed", model=model_id, state=state)
        self._known[model_id] = (state, time.monotonic() + _REPORT_EVERY_S)
        return state
