"""What requests about webhooks may contain, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from core.webhooks import DeliveryStatus
from web.http.schemas import Documented, Query, ResponseBody, Time
from web.jobs.schemas import WHOLE_NUMBER


class WebhookSecret(ResponseBody):
    """What signs an account's webhooks."""

    object: Literal["webhook_secret"]
    secret: str
    """For any library of Standard Webhooks."""
    created_at: Time
    previous_until: Time | None
    """Until when the secret before signs too; null where there is none."""


class Delivery(ResponseBody):
    """One message to a webhook."""

    id: str
    """`webhook-id` of all its attempts, by which a receiver knows a repeat."""
    object: Literal["webhook_delivery"]
    job_id: str
    url: str
    type: str
    """`job.completed`, `job.failed`, `job.cancelled`, `job.incomplete`."""
    status: DeliveryStatus
    attempts: int
    created_at: Time
    next_attempt_at: Time | None
    """While it is pending."""
    finished_at: Time | None
    """When the receiver took it, or it was given up."""
    response_status: int | None
    """Of the latest answer of HTTP, if there was one."""
    error: str | None
    """What kept the latest attempt from its end."""


class DeliveryList(ResponseBody):
    """A page of deliveries."""

    object: Literal["list"]
    data: list[Delivery]
    next_cursor: str | None
    """Brings the next page; null on the last one."""


class DeliveryQuery(Query):
    """Which deliveries."""

    limit: Annotated[int, Field(ge=1, le=100), WHOLE_NUMBER] = 20
    """How many deliveries a page has at most."""
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """`next_cursor` of the page before."""
    status: DeliveryStatus | None = None
    """Only those in this state; `dead` are the letters that were given up."""


class DeliveryPath(Documented):
    """Which delivery."""

    delivery_id: str
    """The delivery's id."""
