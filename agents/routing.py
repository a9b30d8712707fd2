"""Which tier a question needs, by a logistic score over its features, and why, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from agents.features import measure
from core.jobs import JobSpec, Question
from core.models import TIERS, Catalogue, Model, Tier
from core.routing_rules import Rules

_FEATURES_IN_REASON: Final = 3
#: A feature that moves the log-odds by less is not named in the reason.
_LEAST_IN_REASON: Final = 0.05


class Score(Struct, frozen=True):
    """How hard a question looks, from 0 to 1, and the features that moved the score the most."""

    value: float
    top: tuple[str, ...]


class Choice(Struct, frozen=True, kw_only=True):
    """The chosen tier and model, and why; `score` is None when the caller pinned either."""

    tier: Tier
    model: Model
    reason: str
    score: float | None = None


def score(message: str, depth: int, rules: Rules) -> Score:
    """Return how hard the message looks after `depth` exchanges of its conversation."""
    parts = {
        name: value * rules.features[name].weight
        for name, value in measure(message, depth, rules.features).items()
    }
    log_odds = rules.bias + sum(parts.values())
    return Score(1 / (1 + math.exp(-log_odds)), tuple(_top(parts, rules)))


def _top(parts: Mapping[str, float], rules: Rules) -> Iterable[str]:
    by_size = sorted(parts, key=lambda name: abs(parts[name]), reverse=True)
    for name in by_size[:_FEATURES_IN_REASON]:
        if abs(parts[name]) >= _LEAST_IN_REASON:
            yield f"{rules.features[name].says} ({parts[name]:+.2f})"


def choose_tier(value: float, rules: Rules, *, at_most: Tier = TIERS[-1]) -> Tier:
    """Return the strongest tier whose threshold the score reaches, but none above `at_most`."""
    reached = [tier for tier in TIERS if value >= rules.tiers[tier]]
    return min(reached[-1], at_most, key=TIERS.index)


def choose(
    spec: JobSpec, question: Question, depth: int, rules: Rules, catalogue: Catalogue
) -> Choice:
    """Return the tier and model that the caller pinned, or those that the question needs.

    Args:
        depth: the number of earlier exchanges in the conversation.
    """
    asked = spec.route
    if asked.model is not None:
        model, tier = catalogue.models[asked.model], catalogue.tier_of(asked.model)
        return Choice(tier=tier, model=model, reason="the model was asked for")
    pinned: Tier | None = "quick" if spec.mode == "quick" else asked.tier
    if pinned is not None:
        model = catalogue.for_tier(pinned)
        return Choice(tier=pinned, model=model, reason="the tier was asked for")
    scored = score(question.message, depth, rules)
    tier = choose_tier(scored.value, rules, at_most=asked.max_tier)
    reason = "; ".join(scored.top) or "nothing in the message looks hard"
    if tier != choose_tier(scored.value, rules):
        reason += f"; bounded to {tier} by the plan or the limit of cost"
    model, value = catalogue.for_tier(tier), round(scored.value, 3)
    return Choice(tier=tier, model=model, reason=reason, score=value)
