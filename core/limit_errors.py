"""The errors about limits; core/errors.py says how they are written.

AetherError
  LimitExceeded                  429  retry_after_s, limit, resets_at
    RateLimitExceeded            429  by plan or API key, in a moving window
    TooManyTries                 429  by address and account, in a moving window
    TooManyJobs                  429  unfinished ones
    TooManyStreams               429
    TooManyActions               429
    BudgetExhausted              429  until the next month or day
    BudgetBusy                   429  until a job ends
"""

from __future__ import annotations

from core.errors import AetherError


class LimitExceeded(AetherError):
    """A limit of your plan is reached; try again later."""

    code = "limit_exceeded"
    status = 429

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: int = 1,
        limit: str | None = None,
        resets_at: str | None = None,
    ) -> None:
        """Say which limit is reached by its name, and when it has room again (ISO 8601)."""
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.limit = limit
        self.resets_at = resets_at


class RateLimitExceeded(LimitExceeded):
    """You have submitted as much as your plan allows for now; try again later."""

    code = "rate_limit_exceeded"


class TooManyTries(LimitExceeded):
    """Too many tries; try again later."""

    code = "too_many_tries"


class TooManyJobs(LimitExceeded):
    """Too many of your jobs are unfinished; wait for one to end."""

    code = "too_many_jobs"


class TooManyStreams(LimitExceeded):
    """Too many streams and waiting requests of yours are open; close one."""

    code = "too_many_streams"


class TooManyActions(LimitExceeded):
    """Ten acts on many jobs of yours are running; wait for one to end."""

    code = "too_many_actions"


class BudgetExhausted(LimitExceeded):
    """What is left of this month's budget does not cover this job."""

    code = "budget_exhausted"


class BudgetBusy(LimitExceeded):
    """Your unfinished jobs hold what is left of the budget; try again when one has ended."""

    code = "budget_busy"
