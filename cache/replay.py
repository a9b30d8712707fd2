"""A kept answer as the outcome and the events of the job that it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import events
from core.events import NewEvent
from core.money import saved_by_cache, to_usd
from core.outcome import CacheUse, Outcome

if TYPE_CHECKING:
    from cache.response_cache import Hit


def outcome_of(hit: Hit, timing_ms: dict[str, int | None]) -> Outcome:
    """Return what comes of the job: nothing used, nothing to pay, and what that saved."""
    entry = hit.entry
    baseline_micros, savings = saved_by_cache(entry.cost_micros)
    return Outcome(
        answer=entry.answer,
        route=entry.route,
        baseline_micros=baseline_micros,
        savings=savings,
        timing_ms=timing_ms,
        cache=CacheUse(status="hit", layer=hit.layer, age_s=round(hit.age_s, 3)),
    )


def events_of(hit: Hit) -> list[NewEvent]:
    """Return what readers are told: where the answer is from, and all of it."""
    entry = hit.entry
    found = {
        "layer": hit.layer,
        "age_s": round(hit.age_s, 3),
        "saved_usd": to_usd(entry.cost_micros),
    }
    told = {"agent": ", ".join(entry.answer.agents), "text": entry.answer.text}
    return [NewEvent(events.CACHE_HIT, found), NewEvent(events.ANSWER_DELTA, told)]
