"""Fits the router's weights to labelled prompts: a ridge regression that starts from the priors.

A weight moves away from its prior as far as the data speaks for it, and never to the other side of
zero than the feature's direction says, so that what a collection has by chance (its form, its
subjects) cannot turn an explanation upside down.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.features import measure
from core.routing_rules import Feature, Rules

if TYPE_CHECKING:
    from bench.router import Labelled

#: The difficulty, from 0 to 1, that is worth one unit of log-odds.
_DIFFICULTY_PER_UNIT: Final = 0.15
#: How much data it takes to move a weight away from its prior.
_STIFFNESS: Final = 0.3
_ROUNDS: Final = 200
_SECTION = re.compile(r"\[features\.(\w+)\]")
_WEIGHT = re.compile(r"weight = .*")
_BIAS = re.compile(r"^bias = .*", re.MULTILINE)


def fit(rows: Sequence[Labelled], rules: Rules) -> tuple[float, dict[str, float]]:
    """Return the bias and the weights; a source counts as the square root of its size."""
    sizes = Counter(row.source for row in rows)
    shares = [1 / math.sqrt(sizes[row.source]) for row in rows]
    values = [list(measure(row.prompt, 0, rules.features).values()) for row in rows]
    targets = [difficulty(row) / _DIFFICULTY_PER_UNIT for row in rows]
    total = sum(shares)
    shares = [share / total for share in shares]
    means = [_dot(shares, column) for column in zip(*values, strict=True)]
    centred = [[value - mean for value, mean in zip(row, means, strict=True)] for row in values]
    weights = _descend(centred, targets, shares, list(rules.features.values()))
    bias = -_dot(means, weights)
    return bias, dict(zip(rules.features, weights, strict=True))


def difficulty(row: Labelled) -> float:
    """Return what the weak answer lacks, half of it where the strong one lacks it too."""
    return (1 - row.weak) * (1 + row.strong) / 2


def _descend(
    rows: list[list[float]],
    targets: list[float],
    shares: list[float],
    features: list[Feature],
) -> list[float]:
    """Minimise the squared error plus stiffness x (weight - prior)² by coordinate descent."""
    columns = list(zip(*rows, strict=True))
    weighted = [[s * v for s, v in zip(shares, column, strict=True)] for column in columns]
    products = [[_dot(column, other) for other in columns] for column in weighted]
    mean = _dot(shares, targets)
    wanted = [_dot(column, [target - mean for target in targets]) for column in weighted]
    weights = [feature.prior for feature in features]
    for _ in range(_ROUNDS):
        for n, feature in enumerate(features):
            own = products[n][n]
            rest = wanted[n] - _dot(products[n], weights) + own * weights[n]
            best = (rest + _STIFFNESS * feature.prior) / (own + _STIFFNESS)
            weights[n] = max(0.0, best) if feature.pulls == "harder" else min(0.0, best)
    return weights


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def write_weights(path: Path, bias: float, weights: dict[str, float]) -> None:
    """Put the weights into the data file and leave everything else in it as it is."""
    lines = _BIAS.sub(f"bias = {bias:.3f}", path.read_text()).splitlines()
    name = ""
    for number, line in enumerate(lines):
        if section := _SECTION.fullmatch(line):
            name = section[1]
        elif _WEIGHT.fullmatch(line):
            lines[number] = f"weight = {weights[name]:.3f}"
    path.write_text("\n".join(lines) + "\n")
