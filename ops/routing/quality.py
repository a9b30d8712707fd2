"""How well an order of prompts tells hard ones from easy ones.

The hardest prompts go to the strong model. PGR is the part of the gap between weak and strong that
a share of strong calls recovers, APGR its mean over all shares: 0.5 for a random order
(RouteLLM, arXiv 2406.18665).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from ops.routing.labels import Labelled

_SEED: Final = 1
_RANDOM_ORDERS: Final = 400


def apgr(rows: Sequence[Labelled], scores: Sequence[float]) -> float:
    """Return the mean of PGR over all shares; rows of one score come in a random order.

    Raises:
        ValueError: the strong answers are not better on the whole.
    """
    recovered = _recovered(rows, scores)
    return statistics.fmean((a + b) / 2 for a, b in pairwise(recovered))


def random_range(rows: Sequence[Labelled]) -> tuple[float, float]:
    """Return the APGR between which 95 % of random orders lie."""
    rng = random.Random(_SEED)  # noqa: S311 - keeps no secret
    values = [apgr(rows, [rng.random() for _ in rows]) for _ in range(_RANDOM_ORDERS)]
    cuts = statistics.quantiles(values, n=40)
    return cuts[0], cuts[-1]


def quality_at(rows: Sequence[Labelled], scores: Sequence[float], share: float) -> float:
    """Return the mean mark when this share of the prompts goes to the strong model."""
    weak, strong = mean_marks(rows)
    return weak + (strong - weak) * _recovered(rows, scores)[round(share * len(rows))]


def mean_marks(rows: Sequence[Labelled]) -> tuple[float, float]:
    """Return the mean mark of all weak and of all strong answers."""
    return (
        statistics.fmean(row.weak for row in rows),
        statistics.fmean(row.strong for row in rows),
    )


def lengths(rows: Sequence[Labelled]) -> list[float]:
    """Return the order by length, which any router has to beat."""
    return [float(len(row.prompt)) for row in rows]


def _recovered(rows: Sequence[Labelled], scores: Sequence[float]) -> list[float]:
    """Return PGR after 0, 1, 2, … strong calls, hardest first."""
    shuffled = list(zip(scores, rows, strict=True))
    random.Random(_SEED).shuffle(shuffled)  # noqa: S311 - keeps no secret
    shuffled.sort(key=lambda pair: pair[0], reverse=True)
    gains = [row.strong - row.weak for _, row in shuffled]
    gap = sum(gains)
    if gap <= 0:
        raise ValueError("the strong scores have to be higher than the weak ones on the whole")
    return [gain / gap for gain in accumulate(gains, initial=0.0)]
