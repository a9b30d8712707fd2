"""Keeps the leases of the jobs this process works on, and stops those that have to end early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from msgspec import Struct

from core.errors import CoordinatorUnavailable
from core.loops import Loop
from core.stop import StopReason, StopSignal
from storage.jobs.attempts import Attempts
from storage.jobs.claims import Claim, Hold

T = TypeVar("T")

#: How often deadlines are looked at, in seconds.
_TICK_S: Final = 0.5


class _Holding(Struct, eq=False):
    """A claim this process works on; `also` is called with every renewal of its lease."""

    claim: Claim
    stop: StopSignal
    deadline: float
    also: Callable[[], None] | None = None


class LeaseKeeper:
    """Renews every lease of the process and watches deadlines, in a thread each.

    A deadline does not wait for Redis, which a renewal does.

    Args:
        renew_every_s: at most a third of the lease, so that two renewals may fail.
    """

    def __init__(self, attempts: Attempts, *, renew_every_s: float) -> None:
        self._attempts = attempts
        self._holdings: dict[tuple[str, str], _Holding] = {}
        self._lock = threading.Lock()
        self.loops = (
            Loop("lease-keeper", self.renew, every_s=renew_every_s),
            Loop("deadlines", self.stop_late, every_s=_TICK_S),
        )

    @contextmanager
    def hold(self, claim: Claim, stop: StopSignal, *, deadline: float) -> Iterator[None]:
        """Renew the claim's lease while the block runs; `stop` is set when it has to end early.

        Args:
            deadline: `time.monotonic()` value at which `stop` gets the reason DEADLINE.
        """
        place, holding = (claim.job_id, claim.slot), _Holding(claim, stop, deadline)
        with self._lock:
            self._holdings[place] = holding
        try:
            yield
        finally:
            with self._lock:
                # A later attempt of this process may hold the same job by now.
                if self._holdings.get(place) is holding:
                    del self._holdings[place]

    @contextmanager
    def renewing(self, claim: Claim, also: Callable[[], None]) -> Iterator[None]:
        """Call `also` with every renewal of a held claim while the block runs.

        Args:
            also: may raise CoordinatorUnavailable; it is called again with the next renewal.
        """
        with self._lock:
            holding = self._holdings[claim.job_id, claim.slot]
            holding.also = also
        try:
            yield
        finally:
            holding.also = None

    def cancel(self, job_id: str) -> None:
        """Stop whatever this process does for the job."""
        with self._lock:
            holdings = [own for own in self._holdings.values() if own.claim.job_id == job_id]
        for holding in holdings:
            holding.stop.stop(StopReason.CANCELLED)

    def renew(self) -> None:
        """Renew every lease, in one round trip.

        Raises:
            Exception: whatever the store raises; those that could be renewed are.
        """
        with self._lock:
            holdings = list(self._holdings.values())
        all_or_each(self._renew, holdings)

    def _renew(self, holdings: Sequence[_Holding]) -> None:
        answers = self._attempts.renew([holding.claim for holding in holdings])
        for holding, answer in zip(holdings, answers, strict=True):
            obey(answer, holding.stop)
            # Read once: the block of `renewing` may end in another thread meanwhile.
            if (also := holding.also) is not None:
                also()

    def stop_late(self) -> None:
        """Stop every attempt whose deadline has passed."""
        with self._lock:
            holdings = list(self._holdings.values())
        for holding in holdings:
            if time.monotonic() >= holding.deadline:
                holding.stop.stop(StopReason.DEADLINE)


def obey(answer: Hold, stop: StopSignal) -> None:
    """Stop an attempt as the answer to one of its writes demands."""
    if answer is Hold.LOST:
        stop.stop(StopReason.LOST)
    elif answer is Hold.CANCELLED:
        stop.stop(StopReason.CANCELLED)


def all_or_each(call: Callable[[Sequence[T]], None], items: Sequence[T]) -> None:
    """Call with all items at once; when that fails by a bug, with each alone.

    One item that the store cannot take does not keep it from taking the others.

    Raises:
        Exception: what the call raised, the last of several.
    """
    if not items:
        return
    try:
        call(items)
    except CoordinatorUnavailable:
        raise
    except Exception as error:
        if len(items) == 1:
            raise
        _call_each(call, items, error)


def _call_each(call: Callable[[Sequence[T]], None], items: Sequence[T], error: Exception) -> None:
    failed: Exception | None = None
    for item in items:
        try:
            call([item])
        except Exception as own:
            failed = own
    if failed is not None:
        raise failed from error


class CancelListener:
    """One thread that listens for cancelled jobs and stops those of this process.

    A lost message does no harm: every write and renewal sees the mark on the job, too.
    """

    def __init__(self, listen: Callable[[], Iterator[str | None]], keeper: LeaseKeeper) -> None:
        self._listen = listen
        self._keeper = keeper
        self.loop = Loop("cancel-listener", self.listen, every_s=_TICK_S)

    def listen(self) -> None:
        """Stop attempts at cancelled jobs until Redis goes away.

        Raises:
            CoordinatorUnavailable: it did.
        """
        for job_id in self._listen():
            # Also without a message: the subscription is alive.
            self.loop.mark_turn()
            if job_id is not None:
                self._keeper.cancel(job_id)
