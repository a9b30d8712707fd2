"""What follows a model's failure: another try, another model, a deferral, or the end.

Nothing else retries: the SDK's retries are off, and the broker's do not know deadlines.
"""

from __future__ import annotations

import random
from typing import Final, Protocol

from msgspec import Struct

from core.chat import RateLimits
from core.model_errors import (
    BudgetHeld,
    BudgetUsedUp,
    ModelError,
    ModelMissing,
    NoAnswer,
    RateLimited,
    TransientModelError,
)

#: Calls to one model before the next model is called.
TRIES_PER_MODEL: Final = 3
_FIRST_BACKOFF_S: Final = 0.25
_LONGEST_BACKOFF_S: Final = 4.0
#: A longer wait defers the job, so that its thread can serve another one.
LONGEST_WAIT_IN_THREAD_S: Final = 2.0
#: A 429 is never answered by a call at once, whatever its `Retry-After` says.
_SHORTEST_RATE_LIMIT_WAIT_S: Final = 0.25
#: A named wait of at least this is believed: after the last try the job comes back by it.
_BELIEVED_WAIT_S: Final = 1.0
#: Calls to a model that ended without an answer; the same prompt rarely gives one later.
_TRIES_WITHOUT_ANSWER: Final = 2
#: How long a job waits for other jobs that hold what is left of its budget to end.
_BUSY_WAIT_S: Final = 2.0
#: A try with less time to the deadline than this is not worth its cost.
SHORTEST_TRY_S: Final = 1.0


class Breaker(Protocol):
    """A circuit breaker per model, shared by all workers."""

    def allows(self, model_id: str) -> bool:
        """Say whether the model may be called now."""
        ...

    def record(self, model_id: str, *, is_success: bool) -> None:
        """Take note of a call's result."""
        ...


class Throttle(Protocol):
    """The provider's budget, which all workers share: says when a call may start.

    After a wait, call `book` again with the same `booking`: its place in the line is kept, but
    others may have moved it.
    """

    def book(self, model_id: str, booking: str, *, tokens: int, longest_wait_s: float) -> float:
        """Return the seconds to wait before the next `book`; 0 when the call may start now.

        A negative number says that others wait in line for the model, whose turn comes first.

        Args:
            booking: names the call's place in the line.
            tokens: of input and output that the call uses at most.
            longest_wait_s: a call that would have to wait longer gets no place.
        """
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
        """Correct the budget when a call is over.

        Args:
            unused_tokens: booked but not used; negative when the call used more than it booked.
            limits: the provider's limits as of `age_s` ago.
            closed_for_s: the `Retry-After` of a call that the provider refused, else 0.
        """
        ...


class TryAgain(Struct, frozen=True):
    """Call the same model again after `wait_s`."""

    wait_s: float


class AskAnother(Struct, frozen=True):
    """Call the next model, if there is one."""


class ComeBack(Struct, frozen=True):
    """Defer the job by `wait_s`."""

    wait_s: float


class BackIntoLine(Struct, frozen=True):
    """Have the job wait in its line until the model may be called, in `wait_s`."""

    wait_s: float


class GiveUp(Struct, frozen=True):
    """The failure is final."""


Step = TryAgain | AskAnother | ComeBack | BackIntoLine | GiveUp


def next_step(error: ModelError, *, tries: int, left_s: float) -> Step:
    """Return what follows the error.

    Args:
        tries: calls to this model so far, the failed one included.
        left_s: seconds until the job's deadline.
    """
    if isinstance(error, BudgetUsedUp):
        return BackIntoLine(error.retry_after_s or 0.0)
    if isinstance(error, BudgetHeld):
        return ComeBack(_BUSY_WAIT_S) if left_s > _BUSY_WAIT_S + SHORTEST_TRY_S else GiveUp()
    if isinstance(error, ModelMissing):
        return AskAnother()
    if not isinstance(error, TransientModelError):
        return GiveUp()
    if error.retry_after_s is not None:
        return _after_named_wait(error.retry_after_s, tries, left_s)
    most = _TRIES_WITHOUT_ANSWER if isinstance(error, NoAnswer) else TRIES_PER_MODEL
    if tries >= most:
        return AskAnother()
    wait_s = backoff_s(tries)
    if isinstance(error, RateLimited):
        wait_s += _SHORTEST_RATE_LIMIT_WAIT_S
    return TryAgain(wait_s) if wait_s + SHORTEST_TRY_S < left_s else GiveUp()


def _after_named_wait(named_s: float, tries: int, left_s: float) -> Step:
    """Return what follows a `Retry-After`: never a call before it, and no long wait in a thread."""
    is_last_try = tries >= TRIES_PER_MODEL
    is_believed = named_s >= _BELIEVED_WAIT_S
    if is_last_try and not is_believed:
        return AskAnother()
    wait_s = (
        named_s if is_believed else _SHORTEST_RATE_LIMIT_WAIT_S + max(named_s, backoff_s(tries))
    )
    if is_last_try:
        wait_s = max(wait_s, LONGEST_WAIT_IN_THREAD_S)
    if wait_s + SHORTEST_TRY_S >= left_s:
        return GiveUp()
    if is_last_try or wait_s > LONGEST_WAIT_IN_THREAD_S:
        return ComeBack(wait_s)
    return TryAgain(wait_s)


def backoff_s(tries: int) -> float:
    """Return a wait with full jitter: calls that failed together are not repeated together."""
    most = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0**tries)
    return random.uniform(0, most)  # noqa: S311 - spreads load, keeps no secret
