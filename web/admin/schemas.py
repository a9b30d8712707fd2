"""What requests of administrators may contain, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from core.plans import PlanName
from storage.accounts.audit import Act
from web.http.schemas import Documented, Query, RequestBody, ResponseBody, Time


class UserPath(Documented):
    """Which account."""

    user_id: str
    """The account's id."""


class PlanRequest(RequestBody):
    """An account's new plan."""

    plan: PlanName


class AuditQuery(Query):
    """Which page."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    """How many entries at most."""
    cursor: Annotated[str, StringConstraints(pattern="^aud_[0-9a-f]{32}$")] | None = None
    """`next_cursor` of the page before."""
    user_id: Annotated[str, StringConstraints(pattern="^usr_[0-9a-f]{32}$")] | None = None
    """Only what was changed of this account."""


class AuditEntry(ResponseBody):
    """One change of an account."""

    id: str
    at: Time
    actor: str
    """The id of the user who acted; `operator` for the command line."""
    act: Act
    user_id: str
    """Whose account it is."""
    before: str
    after: str
    request_id: str | None
    """Of the request that asked for it; null for the command line."""


class AuditPage(ResponseBody):
    """One page of the log."""

    object: Literal["list"]
    data: list[AuditEntry]
    next_cursor: str | None
    """Leads to the next page; null on the last."""
