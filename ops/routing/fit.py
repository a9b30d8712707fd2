"""Fits the router's weights to labelled prompts: a ridge regression that starts from a prior.

A weight moves away from its prior as far as the data speaks for it, and never to the other side of
zero than the feature's direction says, so that what a collection has by chance (its form, its
subjects) cannot turn an explanation upside down.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from agents.features import measure
from agents.routing import score
from core.routing_rules import Feature, Rules
from ops.routing.labels import Labelled

#: The difficulty, from 0 to 1, that is worth one unit of log-odds.
_DIFFICULTY_PER_UNIT: Final = 0.15
#: How strongly a prior holds its weight against the mean squared error of all rows.
_STIFFNESS: Final = 0.3
#: With more labels of a deployment than this, a prior holds its weight less; docs/routing.md has
#: what that gained on public sets.
_STIFF_ROWS: Final = 100
_ROUNDS: Final = 200
_FOLDS: Final = 5
_SEED: Final = 1
_SECTION = re.compile(r"\[features\.(\w+)\]")
_WEIGHT = re.compile(r"weight = .*")
_BIAS = re.compile(r"^bias = .*", re.MULTILINE)


def fit(rows: Sequence[Labelled], rules: Rules) -> Rules:
    """Return the rules with weights fitted to public sets, from the priors of the data file.

    A source counts as the square root of its size. The mean row gets the score 0.5.
    """
    weights, means = _solve(rows, rules, _STIFFNESS)
    return _with_weights(rules, -_dot(means, weights), weights)


def fit_to_deployment(rows: Sequence[Labelled], rules: Rules) -> Rules:
    """Return the rules with weights fitted to a deployment's labels, from the weights they have.

    The mean row keeps its log-odds, so that about as many questions reach each tier as before.
    """
    priors = {
        name: msgspec.structs.replace(feature, prior=feature.weight)
        for name, feature in rules.features.items()
    }
    stiffness = _STIFFNESS * min(1.0, _STIFF_ROWS / len(rows))
    weights, means = _solve(rows, msgspec.structs.replace(rules, features=priors), stiffness)
    moved = [old.weight - new for old, new in zip(rules.features.values(), weights, strict=True)]
    return _with_weights(rules, rules.bias + _dot(means, moved), weights)


def held_out_scores(
    rows: Sequence[Labelled], rules: Rules, more: Sequence[Labelled] = ()
) -> list[float]:
    """Return each row's score by weights that were fitted to the other folds (cross-validation).

    Args:
        more: rows that every fit sees and that get no score.
    """
    order = list(range(len(rows)))
    random.Random(_SEED).shuffle(order)  # noqa: S311 - keeps no secret
    scores = [0.0] * len(rows)
    for fold in range(_FOLDS):
        held_out = set(order[fold::_FOLDS])
        seen = [row for number, row in enumerate(rows) if number not in held_out]
        fitted = fit_to_deployment([*seen, *more], rules)
        for number in held_out:
            scores[number] = score(rows[number].prompt, 0, fitted).value
    return scores


def difficulty(row: Labelled) -> float:
    """Return what the weak answer lacks, half of it where the strong one lacks it too."""
    return (1 - row.weak) * (1 + row.strong) / 2


def write_weights(template: Path, target: Path, rules: Rules) -> None:
    """Write the data file `template` with these weights and this bias to `target`."""
    lines = _BIAS.sub(f"bias = {rules.bias:.3f}", template.read_text()).splitlines()
    name = ""
    for number, line in enumerate(lines):
        if section := _SECTION.fullmatch(line):
            name = section[1]
        elif _WEIGHT.fullmatch(line):
            lines[number] = f"weight = {rules.features[name].weight:.3f}"
    target.write_text("\n".join(lines) + "\n")


def _solve(
    rows: Sequence[Labelled], rules: Rules, stiffness: float
) -> tuple[list[float], list[float]]:
    """Return the weights, and the mean value of each feature."""
    sizes = Counter(row.source for row in rows)
    shares = [1 / math.sqrt(sizes[row.source]) for row in rows]
    total = sum(shares)
    shares = [share / total for share in shares]
    values = [list(measure(row.prompt, 0, rules.features).values()) for row in rows]
    targets = [difficulty(row) / _DIFFICULTY_PER_UNIT for row in rows]
    means = [_dot(shares, column) for column in zip(*values, strict=True)]
    centred = [[value - mean for value, mean in zip(row, means, strict=True)] for row in values]
    return _descend(centred, targets, shares, list(rules.features.values()), stiffness), means


def _descend(
    rows: list[list[float]],
    targets: list[float],
    shares: list[float],
    features: list[Feature],
    stiffness: float,
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
            best = (rest + stiffness * feature.prior) / (own + stiffness)
            weights[n] = max(0.0, best) if feature.pulls == "harder" else min(0.0, best)
    return weights


def _with_weights(rules: Rules, bias: float, weights: list[float]) -> Rules:
    features = {
        name: msgspec.structs.replace(feature, weight=weight)
        for (name, feature), weight in zip(rules.features.items(), weights, strict=True)
    }
    return msgspec.structs.replace(rules, bias=bias, features=features)


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))
