"""The provider's limits on requests and tokens, shared by all workers through Redis.

A call books one request and the most tokens that it may take, and learns when it may start: now,
or later. Calls start in the order in which they were booked, large or small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct

from core.errors import CoordinatorUnavailable
from storage import keys
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

    from core.chat import Allowance, RateLimits

logger = structlog.get_logger(__name__)

#: A limit's share that is granted evenly over its period.
_PACED_SHARE: Final = 0.9
#: A limit of our own lets the rest go at once, so that no minute sees more than the limit.
_BURST_SHARE: Final = 0.1
_MINUTE_S: Final = 60.0
_DAY_S: Final = 86_400.0
#: A minute with an allowance for the server's clock.
_LONGEST_MINUTE_S: Final = 65.0


class Bound(Struct, frozen=True):
    """A bucket: units that it gains in a second, and the most that it holds."""

    per_s: float
    depth: float


#: Below any limit that a provider was seen to set.
_LEAST_REQUESTS: Final = 10
_LEAST_TOKENS: Final = 1_000


class _Bounds(Struct, frozen=True):
    requests: Bound | None
    tokens: Bound | None

    def __bool__(self) -> bool:
        return self.requests is not None or self.tokens is not None

    def arguments(self) -> list[float]:
        """Return what the scripts take for each: units in a millisecond, and the depth."""
        found = [bound or Bound(0, 0) for bound in (self.requests, self.tokens)]
        return [value for bound in found for value in (bound.per_s / 1000, bound.depth)]


class UpstreamBudget:
    """The budget of every model; safe to share between threads.

    A model without a limit, from the settings or from the provider's answers, costs no call to
    Redis. Without Redis every call goes ahead: the provider still enforces its limits.

    Args:
        requests_per_minute: a limit of our own for each model; None for none.
        tokens_per_minute: likewise.
    """

    def __init__(
        self, redis: Redis, *, requests_per_minute: int | None, tokens_per_minute: int | None
    ) -> None:
        self._book = Script(redis, "budget_book", behind=(*WITH_LINES, "budget"))
        self._correct = Script(redis, "budget_correct", behind=("prelude", "budget"))
        self._own = _Bounds(bound_of(requests_per_minute), bound_of(tokens_per_minute))
        self._known: dict[str, _Bounds] = {}

    def book(self, model_id: str, booking: str, *, tokens: int, longest_wait_s: float) -> float:
        """Return how many seconds to wait before asking again; see `Throttle` for what 0 means."""
        bounds = self._bounds(model_id)
        if not bounds:
            return 0.0
        both = [keys.budget(model_id), keys.booking(model_id, booking)]
        longest_wait_ms = max(0, int(longest_wait_s * 1000))
        unit = booking.removesuffix("/")
        arguments = [tokens, longest_wait_ms, model_id, unit, *bounds.arguments()]
        try:
            return int(self._book.run(both, arguments)) / 1000
        except CoordinatorUnavailable:
            logger.warning("budget unknown; the call goes ahead", model=model_id)
            return 0.0

    def settle(
        self,
        model_id: str,
        *,
        unused_tokens: int,
        limits: RateLimits,
        age_s: float,
        closed_for_s: float,
    ) -> None:
        """Correct a booking when its call is over; see `agents.retry_policy.Throttle`."""
        bounds = self._learn(model_id, limits)
        if not bounds:
            return
        left = [
            _left(limits.requests, bounds.requests, age_s),
            _left(limits.tokens, bounds.tokens, age_s),
        ]
        arguments = [unused_tokens, int(closed_for_s * 1000), *bounds.arguments(), *left]
        try:
            self._correct.run([keys.budget(model_id)], arguments)
        except CoordinatorUnavailable:
            logger.warning("budget not corrected", model=model_id)

    def _bounds(self, model_id: str) -> _Bounds:
        return self._known.get(model_id, self._own)

    def _learn(self, model_id: str, limits: RateLimits) -> _Bounds:
        known = self._bounds(model_id)
        requests = bound_of_allowance(limits.requests, least=_LEAST_REQUESTS)
        tokens = bound_of_allowance(limits.tokens, least=_LEAST_TOKENS)
        bounds = _Bounds(
            stricter(self._own.requests, requests) if requests else known.requests,
            stricter(self._own.tokens, tokens) if tokens else known.tokens,
        )
        self._known[model_id] = bounds
        return bounds


def bound_of(limit_per_minute: int | None) -> Bound | None:
    """Return the bucket that grants no more than the limit in any minute."""
    if limit_per_minute is None:
        return None
    depth = max(1.0, limit_per_minute * _BURST_SHARE)
    return Bound(limit_per_minute * _PACED_SHARE / _MINUTE_S, depth)


def bound_of_allowance(allowance: Allowance | None, *, least: int = 1) -> Bound | None:
    """Return the bucket for a limit that the provider's headers state.

    The headers name no period. A limit that takes more than a minute to be full again is one by the
    day: Groq counts requests so. Where little was used, a limit by the day looks like one by the
    minute.

    Args:
        least: a lower limit is not believed: one odd answer would hold up every user's jobs, and
            a provider that means it refuses by itself.
    """
    if allowance is None or allowance.limit < least:
        return None
    period_s = _DAY_S if allowance.reset_s > _LONGEST_MINUTE_S else _MINUTE_S
    paced = allowance.limit * _PACED_SHARE
    return Bound(paced / period_s, max(1.0, paced))


def stricter(first: Bound | None, second: Bound | None) -> Bound | None:
    """Return a bucket within both; one that is None binds nothing."""
    if first is None or second is None:
        return first or second
    return Bound(min(first.per_s, second.per_s), min(first.depth, second.depth))


def _left(allowance: Allowance | None, bound: Bound | None, age_s: float) -> float | str:
    if allowance is None or bound is None:
        return ""
    return allowance.remaining + bound.per_s * age_s
