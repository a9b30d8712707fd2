"""What to do when a model fails: again, another model, later, or never.

One layer retries, and this is it: the SDK's retries are off, and the broker's know nothing of
deadlines.
"""

from __future__ import annotations

import random
from typing import Final, Protocol

from msgspec import Struct

from core.chat import RateLimits
from core.errors import ModelError, ModelMissing, RateLimited, TransientModelError

#: Calls to one model before the next one is asked.
TRIES_PER_MODEL: Final = 3
_FIRST_BACKOFF_S: Final = 0.25
_LONGEST_BACKOFF_S: Final = 4.0
#: A longer wait than this gives the worker's slot to another job.
LONGEST_WAIT_IN_SLOT_S: Final = 2.0
#: What has to be left of the deadline for another try to make sense.
SHORTEST_TRY_S: Final = 1.0


class Breaker(Protocol):
    """Knows which models are failing for everyone."""

    def allows(self, model_id: str) -> bool: ...

    def record(self, model_id: str, *, is_success: bool) -> None: ...


class Throttle(Protocol):
    """Knows when a call may start, so that all workers together stay within the provider's limits.

    A wait is to be asked for again under the same `booking` when it is over: the place in the line
    is kept, and may have moved.
    """

    def book(self, model_id: str, booking: str, *, tokens: int, longest_wait_s: float) -> float:
        """Return how many seconds to wait before asking again; 0 when the call may start."""
        ...

    def settle(
        self,
        model_id: str,
        *,
        unused_tokens: int,
        limits: RateLimits,
        age_s: float,
        closed_for_s: float,
    ) -> None:
        """Correct a booking when its call is over.

        Args:
            unused_tokens: what was booked too much; a negative number was too little.
            limits: what the provider said of its limits `age_s` ago.
            closed_for_s: how long the provider, which refused the call, wants to hear nothing.
        """
        ...


class TryAgain(Struct, frozen=True):
    """Ask the same model after `wait_s`."""

    wait_s: float


class AskAnother(Struct, frozen=True):
    """Ask the next model, if there is one."""


class ComeBack(Struct, frozen=True):
    """Put the job back in the queue for `wait_s`."""

    wait_s: float


class GiveUp(Struct, frozen=True):
    """The failure is final."""


Step = TryAgain | AskAnother | ComeBack | GiveUp


def next_step(error: ModelError, *, tries: int, left_s: float) -> Step:
    """Decide by the error, how often this model was asked, and what is left of the deadline."""
    if isinstance(error, ModelMissing):
        return AskAnother()
    if not isinstance(error, TransientModelError):
        return GiveUp()
    if isinstance(error, RateLimited) and error.retry_after_s is not None:
        return _after_rate_limit(error.retry_after_s, left_s)
    if tries >= TRIES_PER_MODEL:
        return AskAnother()
    wait_s = backoff_s(tries)
    return TryAgain(wait_s) if wait_s + SHORTEST_TRY_S < left_s else GiveUp()


def _after_rate_limit(retry_after_s: float, left_s: float) -> Step:
    """Obey the provider: nothing is sent before its time, and no slot is held for long."""
    if retry_after_s + SHORTEST_TRY_S >= left_s:
        return GiveUp()
    if retry_after_s <= LONGEST_WAIT_IN_SLOT_S:
        return TryAgain(retry_after_s)
    return ComeBack(retry_after_s)


def backoff_s(tries: int) -> float:
    """Return a wait with full jitter, so that those who failed together do not return together."""
    most = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0**tries)
    return random.uniform(0, most)  # noqa: S311 - spreads load, keeps no secret
