"""The router's data file: features, their weights, and the score from which a tier answers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from core.models import Tier

RULES_FILE: Final = Path(__file__).with_name("routing.toml")


class Feature(Struct, frozen=True, kw_only=True):
    """One row of the data file.

    Attributes:
        says: what a reader is told when it was decisive.
        pulls: what more of it makes a question; the weight never says otherwise.
        half: the count at which the value is 0.5.
        prior: the weight before any data was seen.
        words: what is counted, unless a function of this module counts.
    """

    says: str
    pulls: Literal["harder", "easier"]
    weight: float
    half: float
    prior: float = 0.0
    words: frozenset[str] = frozenset()


class Rules(Struct, frozen=True):
    """The data file: what is looked at, what it weighs, and from which score a tier answers."""

    bias: float
    features: dict[str, Feature]
    tiers: dict[Tier, float]


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
