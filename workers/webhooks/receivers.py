"""How receivers do: a circuit for each, so that one that is down is seldom called."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from cachetools import LRUCache
from msgspec import Struct

#: Calls of one receiver at a time; of one that fails, one call shows whether it is back.
MOST_CALLS: Final = 4
_PROBES: Final = 1
#: So many failures in a row open a circuit, for so long at first and at most.
_OPENING_FAILURES: Final = 5
_FIRST_PAUSE_S: Final = 15.0
_LONGEST_PAUSE_S: Final = 600.0
_MOST_REMEMBERED: Final = 10_000


class _Circuit(Struct):
    failures: int = 0
    open_until: float = 0.0


class Receivers:
    """The circuits of one process, by host and port; safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._circuits: LRUCache[str, _Circuit] = LRUCache(_MOST_REMEMBERED)

    def paused_s(self, host: str) -> float:
        """Return for how many seconds the receiver is not called yet; 0 where it may be."""
        with self._lock:
            circuit = self._circuits.get(host)
            return max(0.0, circuit.open_until - self._clock()) if circuit else 0.0

    def most_calls(self, host: str) -> int:
        """Return how many calls of it may be open at a time."""
        with self._lock:
            circuit = self._circuits.get(host)
            is_failing = circuit is not None and circuit.failures >= _OPENING_FAILURES
            return _PROBES if is_failing else MOST_CALLS

    def record(self, host: str, *, is_success: bool) -> None:
        """Note how a call ended; failures in a row open the circuit, each for longer."""
        with self._lock:
            if is_success:
                self._circuits.pop(host, None)
                return
            circuit = self._circuits.setdefault(host, _Circuit())
            circuit.failures += 1
            over = circuit.failures - _OPENING_FAILURES
            if over >= 0:
                pause_s = min(_FIRST_PAUSE_S * 2 ** min(over, 16), _LONGEST_PAUSE_S)
                circuit.open_until = self._clock() + pause_s
