"""Which tier a question needs, judged by its features, and in words why."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from agents.features import Feature, measure
from core.models import TIERS, Tier

RULES_FILE: Final = Path(__file__).with_name("routing.toml")
_FEATURES_IN_REASON: Final = 3
#: A feature that moves the log-odds by less is not worth telling.
_WORTH_TELLING: Final = 0.05


class Rules(Struct, frozen=True):
    """The data file: what is looked at, what it weighs, and from which score a tier answers."""

    bias: float
    features: dict[str, Feature]
    tiers: dict[Tier, float]


class Score(Struct, frozen=True):
    """How hard a question looks, from 0 to 1, and what made the most difference to it."""

    value: float
    top: tuple[str, ...]


def read_rules(path: Path = RULES_FILE) -> Rules:
    """Read the router's data file.

    Raises:
        msgspec.ValidationError: it says something that it cannot say.
    """
    content = tomllib.loads(path.read_text())
    return msgspec.convert(
        {
            "bias": content["bias"],
            "tiers": content["tiers"],
            "features": {name: _to_feature(row) for name, row in content["features"].items()},
        },
        Rules,
    )


def _to_feature(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"words": row.get("words", "").split()}


def score(message: str, depth: int, rules: Rules) -> Score:
    """Return how hard the message looks after `depth` exchanges of a conversation."""
    parts = {
        name: value * rules.features[name].weight
        for name, value in measure(message, depth, rules.features).items()
    }
    log_odds = rules.bias + sum(parts.values())
    return Score(1 / (1 + math.exp(-log_odds)), tuple(_top(parts, rules)))


def _top(parts: Mapping[str, float], rules: Rules) -> Iterable[str]:
    by_size = sorted(parts, key=lambda name: abs(parts[name]), reverse=True)
    for name in by_size[:_FEATURES_IN_REASON]:
        if abs(parts[name]) >= _WORTH_TELLING:
            yield f"{rules.features[name].says} ({parts[name]:+.2f})"


def choose_tier(value: float, rules: Rules, *, at_most: Tier = "deep") -> Tier:
    """Return the tier that answers a question of this score, bounded by `at_most`."""
    reached = [tier for tier in TIERS if value >= rules.tiers.get(tier, 0.0)]
    return min(reached[-1], at_most, key=TIERS.index)


def reason_of(scored: Score) -> str:
    """Return in words what made the most difference."""
    return "; ".join(scored.top) or "nothing in the message looks hard"
