"""Every error of a call to a model; none leaves Aether as an HTTP status.

ModelError                     ends in the job's error, never in an HTTP status
  TransientModelError          may pass on a repeat: timeout, rate limit, 5xx, dropped connection;
                               retry_after_s as the provider gave it
    RateLimited
      BudgetUsedUp             by our own count: nothing was sent
      BudgetHeld               nothing was sent: other jobs of the user hold his money
    ModelTimeout
    NoAnswer                   the model ended without any text, or with output it cannot use
  PermanentModelError          will not pass on a repeat: bad request, bad key, refused content
    ModelMissing               the provider does not serve this model (any more)
    BudgetGone                 nothing was sent; what exists of the answer is its end
    CostLimitReached           the same, by the job's own limit
TurnStopped                    internal: a stop signal or the deadline ended a model call
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import AetherError

if TYPE_CHECKING:
    from core.chat import Usage


class ModelError(AetherError):
    """The model could not answer."""

    code = "model_error"


class TransientModelError(ModelError):
    """The model could not answer this time."""

    code = "model_unavailable"

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(TransientModelError):
    """The model provider's rate limit is reached."""

    code = "model_rate_limited"


class BudgetUsedUp(RateLimited):
    """By our own count the provider's limit is reached, or others come first; nothing was sent."""


class ModelTimeout(TransientModelError):
    """The model did not answer in time."""

    code = "model_timeout"


class NoAnswer(TransientModelError):
    """The model ended without an answer."""

    code = "model_no_answer"

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        #: What the call used all the same, where the provider told.
        self.usage = usage


class BudgetHeld(RateLimited):
    """Other unfinished jobs hold what is left of the budget."""

    code = "budget_busy"


class PermanentModelError(ModelError):
    """The model refused the request."""

    code = "model_refused"


class ModelMissing(PermanentModelError):
    """The provider does not serve this model."""

    code = "model_missing"


class BudgetGone(PermanentModelError):
    """What is left of the budget does not cover the answer, or the rest of it."""

    code = "budget_exhausted"


class CostLimitReached(PermanentModelError):
    """The job's `max_cost_usd` does not cover the answer, or the rest of it."""

    code = "cost_limit_reached"


class TurnStopped(AetherError):
    """The call was stopped before its end."""

    code = "stopped"
