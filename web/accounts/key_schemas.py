"""What requests about API keys may contain, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from core.plans import PlanName
from core.scopes import Scope
from web.accounts.schemas import PersonName
from web.http.schemas import Documented, Moment, RequestBody, ResponseBody, Time


class KeyRequest(RequestBody):
    """A new API key."""

    name: PersonName
    """What the key is for."""
    scopes: (
        Annotated[
            list[Annotated[str, StringConstraints(max_length=64)]],
            Field(min_length=1, max_length=16),
        ]
        | None
    ) = None
    """What it may do: `jobs:read`, `jobs:write`, `account:read`; null for the first two."""
    plan: PlanName | None = None
    """A plan not above the account's; its tiers, agents, requests a minute and monthly budget hold
    for the key. Null for the account's own."""
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Jobs that it may submit in any minute, of those that the account may."""
    monthly_budget_usd: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    """What its jobs may cost in a calendar month (UTC), of what the account's may."""
    webhook: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    """An https URL that is told of the end of its jobs, where they name no other one."""
    expires_at: Moment | None = None
    """From when on it is void."""


class ApiKey(ResponseBody):
    """An API key without its secret."""

    id: str
    name: str
    hint: str
    """The beginning and the end of its text."""
    scopes: list[Scope]
    plan: PlanName | None
    requests_per_minute: int | None
    monthly_budget_usd: float | None
    webhook: str | None
    created_at: Time
    last_used_at: Time | None
    """To the minute; null if it was never used."""
    expires_at: Time | None


class NewApiKey(ApiKey):
    """A new API key with its text."""

    key: str
    """Goes into `Authorization: Bearer …`; it is shown this once."""


class ApiKeyList(ResponseBody):
    """An account's API keys."""

    object: Literal["list"]
    data: list[ApiKey]


class KeyPath(Documented):
    """Which key."""

    key_id: str
    """The key's id."""
