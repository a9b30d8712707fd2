"""The schemas of requests and responses of analytics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from web.http.schemas import Fits, Query, ResponseBody
from web.jobs.schemas import WHOLE_NUMBER

Day = Annotated[str, Fits(r"\d{4}-\d\d-\d\d", "must be a day, as 2026-11-27")]


class AnalyticsQuery(Query):
    """Which days, and by what the figures are told apart."""

    from_: Annotated[Day | None, Field(alias="from")] = None
    """The first day (UTC); null for 29 days before the last."""
    to: Day | None = None
    """The last day (UTC), itself among them; null for today. At most 366 days."""
    by: Literal["day", "model", "agent", "mode"] = "day"
    """What there is a group for."""


class AdminAnalyticsQuery(Query):
    """Which days, by what the figures are told apart, and in which form."""

    from_: Annotated[Day | None, Field(alias="from")] = None
    """The first day (UTC); null for 29 days before the last."""
    to: Day | None = None
    """The last day (UTC), itself among them; null for today. At most 366 days."""
    by: Literal["day", "model", "agent", "mode", "user"] = "day"
    """What there is a group for; of users, those whose jobs cost most."""
    limit: Annotated[int, Field(ge=1, le=1_000), WHOLE_NUMBER] = 100
    """How many users at most."""
    format: Literal["json", "csv"] = "json"
    """A JSON object, or a table of the groups for spreadsheets."""


class Jobs(ResponseBody):
    """How many jobs have ended."""

    total: int
    by_status: dict[str, int]


class Tokens(ResponseBody):
    """Tokens of model calls; cached ones are part of the input."""

    input: int
    cached_input: int
    output: int
    total: int


class Saved(ResponseBody):
    """What was not spent, in dollars, by why."""

    cache_usd: float
    routing_usd: float
    prompt_cache_usd: float


class Percentiles(ResponseBody):
    """Milliseconds, within 2 %; null without values."""

    p50: float | None
    p95: float | None
    p99: float | None


class CacheRate(ResponseBody):
    """How the cache served jobs; those that went past it do not count."""

    hits: int
    """Answered by a kept answer, or together with another job."""
    misses: int
    hit_rate: float | None


class Ratings(ResponseBody):
    """What users said of answers."""

    up: int
    down: int


class Figures(ResponseBody):
    """What jobs used and how they went."""

    jobs: Jobs
    tokens: Tokens
    cost_usd: float
    saved: Saved
    latency_ms: Percentiles
    """From the submission to the end, of completed jobs."""
    first_token_ms: Percentiles
    """From the model call to its first text, of completed jobs."""
    cache: CacheRate
    feedback: Ratings


class Group(Figures):
    """The figures of one day, model, agent or mode."""

    key: str
    """Which; `other` holds what no group is told apart for."""


class Analytics(ResponseBody):
    """The figures of days, in all and by group."""

    object: Literal["analytics"]
    from_: Annotated[str, Field(alias="from")]
    to: str
    by: str
    total: Figures
    groups: list[Group]


class SpenderGroup(ResponseBody):
    """What a user's jobs cost, by the ledger."""

    key: str
    """The user's id."""
    jobs: int
    cost_usd: float


class AdminAnalytics(ResponseBody):
    """The figures of everybody's jobs, in all and by group."""

    object: Literal["analytics"]
    from_: Annotated[str, Field(alias="from")]
    to: str
    by: str
    total: Figures
    groups: list[Group | SpenderGroup]
