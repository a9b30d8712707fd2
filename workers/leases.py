"""Keeps the leases of the jobs this process works on, and passes on what ends them early."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct

from core.errors import CoordinatorUnavailable
from core.stop import StopReason, StopSignal
from storage.jobs.attempts import Attempts, Claim, Hold

if TYPE_CHECKING:
    from collections.abc import Callable

logger = structlog.get_logger(__name__)

#: How often deadlines are looked at, in seconds.
_TICK_S: Final = 0.5


class _Holding(Struct, frozen=True):
    claim: Claim
    stop: StopSignal
    deadline: float


class LeaseKeeper:
    """One thread that renews every lease of the process and watches deadlines.

    Args:
        renew_every_s: at most a third of the lease, so that two renewals may fail.
    """

    def __init__(self, attempts: Attempts, *, renew_every_s: float) -> None:
        self._attempts = attempts
        self._renew_every_s = renew_every_s
        self._holdings: dict[tuple[str, str], _Holding] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @contextmanager
    def hold(self, claim: Claim, stop: StopSignal, *, deadline: float) -> Iterator[None]:
        """Keep the claim's lease while the block runs; `stop` is set when it has to end early.

        Args:
            deadline: `time.monotonic()` value at which `stop` gets the reason DEADLINE.
        """
        self.take(claim, stop, deadline=deadline)
        try:
            yield
        finally:
            self.drop(claim, stop)

    def take(self, claim: Claim, stop: StopSignal, *, deadline: float) -> None:
        """Keep the claim's lease until `drop`."""
        with self._lock:
            self._holdings[claim.job_id, claim.slot] = _Holding(claim, stop, deadline)

    def drop(self, claim: Claim, stop: StopSignal) -> None:
        """Keep the claim's lease no longer, unless somebody else of this process took it over.

        Args:
            stop: the signal it was taken with: a claim that is handed over keeps its fence.
        """
        place = (claim.job_id, claim.slot)
        with self._lock:
            holding = self._holdings.get(place)
            if holding is not None and holding.stop is stop:
                del self._holdings[place]

    def cancel(self, job_id: str) -> None:
        """Stop whatever this process does for the job."""
        with self._lock:
            holdings = [own for own in self._holdings.values() if own.claim.job_id == job_id]
        for holding in holdings:
            holding.stop.stop(StopReason.CANCELLED)

    def _run(self) -> None:
        renew_at = time.monotonic() + self._renew_every_s
        while True:
            time.sleep(_TICK_S)
            now = time.monotonic()
            with self._lock:
                holdings = list(self._holdings.values())
            for holding in holdings:
                if now >= holding.deadline:
                    holding.stop.stop(StopReason.DEADLINE)
            if now >= renew_at:
                renew_at = now + self._renew_every_s
                self._renew(holdings)

    def _renew(self, holdings: list[_Holding]) -> None:
        if not holdings:
            return
        try:
            answers = self._attempts.renew([holding.claim for holding in holdings])
        except CoordinatorUnavailable:
            logger.warning("leases not renewed; the next round tries again", count=len(holdings))
            return
        for holding, answer in zip(holdings, answers, strict=True):
            obey(answer, holding.stop)


def obey(answer: Hold, stop: StopSignal) -> None:
    """Pass on to a running job what a write under its fence has told."""
    if answer is Hold.LOST:
        stop.stop(StopReason.LOST)
    elif answer is Hold.CANCELLED:
        stop.stop(StopReason.CANCELLED)


class CancelListener:
    """One thread that hears of cancelled jobs and stops those of this process.

    A nudge that is lost is made up for by the mark on the job, which every write and renewal sees.
    """

    def __init__(self, listen: Callable[[], Iterator[str]], keeper: LeaseKeeper) -> None:
        self._listen = listen
        self._keeper = keeper
        self._thread = threading.Thread(target=self._run, name="cancel-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                for job_id in self._listen():
                    self._keeper.cancel(job_id)
            except CoordinatorUnavailable:
                time.sleep(1)
