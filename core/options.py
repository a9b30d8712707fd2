"""What a request may say of how its job is answered: by whom, and from the cache or anew."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from core.models import TIERS, Tier


class RouteRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is to answer, as far as the caller, his plan and his limit of cost say.

    Attributes:
        tier, model: asked for; None to let the router choose.
        max_tier: the strongest that the router may choose.
        max_cost_micros: the limit that `max_tier` keeps.
        is_cascade: quick answers are tried first and served where they hold.
    """

    tier: Tier | None = None
    model: str | None = None
    max_tier: Tier = TIERS[-1]
    max_cost_micros: int | None = None
    is_cascade: bool = False


class CacheControl(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far an answer that was given before may serve.

    Attributes:
        mode: `refresh` asks anew and keeps the answer, `bypass` has nothing to do with the cache.
        ttl_s: the longest that this job's answer is to be kept.
        max_age_s: the oldest answer that may serve.
    """

    mode: Literal["use", "refresh", "bypass"] = "use"
    ttl_s: int | None = None
    max_age_s: int | None = None
