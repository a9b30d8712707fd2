"""The router's data file: features, their weights, and the score from which a tier answers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from core.models import TIERS, Tier

RULES_FILE: Final = Path(__file__).with_name("routing.toml")
#: The features that `agents.features` looks up by name.
_NEEDED: Final = ("demands",)


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


def read_rules(path: Path | None = None) -> Rules:
    """Read the router's data file that ships, or the one at `path`.

    Raises:
        ValueError: no such file, or it is not a data file of the router.
    """
    source = path or RULES_FILE
    try:
        content = tomllib.loads(source.read_text())
        content["features"] = {name: _to_feature(row) for name, row in content["features"].items()}
        rules = msgspec.convert(content, Rules)
    except KeyError:
        raise ValueError(f"{source} has no features") from None
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{source}: {error}") from error
    missing = [f"features.{name}" for name in _NEEDED if name not in rules.features]
    missing += [f"tiers.{tier}" for tier in TIERS if tier not in rules.tiers]
    if missing:
        raise ValueError(f"{source} has no {' and no '.join(missing)}")
    return rules


def _to_feature(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"words": row.get("words", "").split()}
