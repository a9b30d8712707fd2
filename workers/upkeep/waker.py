"""Waking workers for what is ready and nobody has taken."""

from __future__ import annotations

from typing import Final

from storage.jobs.lines import Lines
from workers.queue import BrokerAway, WakeUps

#: Units that are looked at in one turn.
_MOST_DUE: Final = 500
_MOST_WOKEN: Final = 64


class Waker:
    """Puts work whose time has come into its lines, and publishes wake-ups for what stands there.

    A wake-up may have been lost, and one that was sent too early found nothing. While others wait
    in Celery's queues every thread is busy, and no further one is needed.
    """

    def __init__(self, lines: Lines, wake_ups: WakeUps) -> None:
        self._lines = lines
        self._wake_ups = wake_ups

    def run(self) -> None:
        """Do it once.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        while self._lines.enter_due(most=_MOST_DUE)[1] == _MOST_DUE:
            pass
        ready = self._lines.count_ready(most=_MOST_WOKEN)
        if not ready:
            return
        try:
            if self._wake_ups.count_waiting():
                return
        except BrokerAway:
            return
        for kind, count in ready.items():
            self._wake_ups.send(kind, count)
