"""Every error Aether raises on purpose.

AetherError
  InvalidRequest                 400  field and reason
    CursorOfOtherFilter          400
    UnknownAgent                 400
    UnknownModel                 400
    CostLimitTooLow              400
    IdempotencyConflict          422
  Unauthenticated                401
  Forbidden                      403
    TierNotInPlan                403
  NotFound                       404
    JobNotFound                  404  also for another owner's job
  MethodNotAllowed               405
  RequestTimeout                 408
  JobAlreadyFinished             409
  JobNotFinished                 409
  ContentGone                    410
  PayloadTooLarge                413
  UnsupportedMediaType           415
  ServiceUnavailable             503  retry_after_s
    StoreUnavailable             503  MongoDB
    CoordinatorUnavailable       503  Redis
    Draining                     503  new jobs only
    CoordinatorFull              503  new jobs only
    TooManyWaiting               503  streams and waits only
  JobUnreadable                  500  another version wrote it, or its fields are broken
  SumsUnknown                    internal: Redis does not know what a budget has paid
  SlotUnavailable                internal: an agent's turn is another worker's, or has not come
  ModelError                     a tree of its own: core/model_errors.py

Those about accounts and plans are in core/account_errors.py, about limits in core/limit_errors.py.

A class's docstring is its default message; `code` is stable and part of the API.
"""

from __future__ import annotations

from typing import ClassVar


class AetherError(Exception):
    """The server met an unexpected error; quote the request id when you report it."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)


class InvalidRequest(AetherError):
    """The request is not valid."""

    code = "invalid_request"
    status = 400

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class CursorOfOtherFilter(InvalidRequest):
    """`cursor` comes from a list with another filter; begin this one without it."""

    code = "cursor_of_other_filter"


class UnknownAgent(InvalidRequest):
    """No agent has this name."""

    code = "unknown_agent"


class UnknownModel(InvalidRequest):
    """No model has this name."""

    code = "unknown_model"


class CostLimitTooLow(InvalidRequest):
    """No tier answers this request within the cost limit."""

    code = "cost_limit_too_low"


class InvalidPriority(InvalidRequest):
    """The priority must be a whole number from 0 to 10."""

    code = "invalid_priority"


class InvalidConcurrency(InvalidRequest):
    """The concurrency key or its limit is not valid."""

    code = "invalid_concurrency"


class InvalidTime(InvalidRequest):
    """A point in time must be ISO 8601 with its offset from UTC."""

    code = "invalid_time"


class ExpiryInPast(InvalidRequest):
    """`expires_at` must be in the future."""

    code = "expiry_in_past"


class ExpiresBeforeRun(InvalidRequest):
    """`expires_at` must be later than `run_at`."""

    code = "expires_before_run"


class IdempotencyConflict(InvalidRequest):
    """This `Idempotency-Key` was used before with another request."""

    code = "idempotency_conflict"
    status = 422


class Unauthenticated(AetherError):
    """The token is missing, not valid or expired; log in again."""

    code = "unauthenticated"
    status = 401


class Forbidden(AetherError):
    """This account is not allowed to do this."""

    code = "forbidden"
    status = 403


class TierNotInPlan(Forbidden):
    """Your plan does not include this tier."""

    code = "tier_not_in_plan"


class NotFound(AetherError):
    """Nothing exists at this address."""

    code = "not_found"
    status = 404


class JobNotFound(NotFound):
    """No job of this account has this id."""

    code = "job_not_found"


class MethodNotAllowed(AetherError):
    """This address does not allow the method; the header `Allow` names those it does."""

    code = "method_not_allowed"
    status = 405


class JobAlreadyFinished(AetherError):
    """The job has finished already."""

    code = "job_already_finished"
    status = 409

    def __init__(self, job_status: str) -> None:
        super().__init__(f"The job has finished already: it is {job_status}.")
        self.job_status = job_status


class JobNotFinished(AetherError):
    """The job has not ended yet; feedback is taken once it has."""

    code = "job_not_finished"
    status = 409


class ContentGone(AetherError):
    """What the job asked is not kept any more."""

    code = "content_gone"
    status = 410


class PayloadTooLarge(AetherError):
    """The request body is larger than this server accepts."""

    code = "payload_too_large"
    status = 413


class RequestTimeout(AetherError):
    """The request did not arrive in time; send it again."""

    code = "request_timeout"
    status = 408


class UnsupportedMediaType(AetherError):
    """The body must be JSON, sent as `application/json`."""

    code = "unsupported_media_type"
    status = 415


class SumsUnknown(AetherError):
    """What a budget has paid is read from the ledger first."""


class ServiceUnavailable(AetherError):
    """The service is not available at the moment; try again."""

    code = "service_unavailable"
    status = 503

    def __init__(self, message: str | None = None, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CoordinatorFull(ServiceUnavailable):
    """The job coordinator is nearly full and takes no new jobs for now; try again."""

    code = "coordinator_full"


class TooManyWaiting(ServiceUnavailable):
    """Too many streams and waiting requests are open here; try again without waiting."""

    code = "too_many_waiting"


class Draining(ServiceUnavailable):
    """The service is about to be stopped and takes no new jobs; try again."""

    code = "draining"


class StoreUnavailable(ServiceUnavailable):
    """The database does not answer; try again."""

    code = "store_unavailable"


class CoordinatorUnavailable(ServiceUnavailable):
    """The job coordinator does not answer; try again."""

    code = "coordinator_unavailable"


class JobUnreadable(AetherError):
    """This version cannot read the job; another one wrote it, or it is broken."""


class SlotUnavailable(AetherError):
    """Another worker has this piece of the job, or its turn has not come."""
