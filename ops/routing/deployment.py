"""Weights for one deployment: its labels, the fit, and what cross-validation says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from agents.routing import choose_tier, score
from core.comparisons import Comparison
from core.models import TIERS, Catalogue, Tier
from core.routing_rules import Rules
from ops.routing.fit import fit_to_deployment, held_out_scores
from ops.routing.labels import Labelled, label_of
from ops.routing.quality import apgr, lengths, random_range

#: With fewer labels than these, cross-validation cannot tell a fit from chance.
FEWEST_COMPARED: Final = 100
FEWEST_WORSE: Final = 15


class TooFewLabels(Exception):
    """The labels do not carry a fit; the text says what is missing."""


class Fitted(Struct, frozen=True, kw_only=True):
    """Weights, and the APGR on the compared questions.

    Attributes:
        apgr: by weights that were fitted without the question in hand.
        shipped_apgr: by the weights that ship.
        length_apgr: by the question's length.
        random_range: 95 % of random orders lie between these.
        tiers: the share of the questions that each tier would answer.
        shipped_tiers: the same by the weights that ship.
    """

    rules: Rules
    apgr: float
    shipped_apgr: float
    length_apgr: float
    random_range: tuple[float, float]
    tiers: dict[Tier, float]
    shipped_tiers: dict[Tier, float]


def labels_of(
    comparisons: Iterable[Comparison], questions: Mapping[str, str], catalogue: Catalogue
) -> list[Labelled]:
    """Return one label for each question that today's models answered, the first one given.

    Args:
        questions: by job id; a comparison whose question is gone is left out.
    """
    deep, models = catalogue.for_tier("deep").id, set(catalogue.tiers.values())
    labels: dict[str, Labelled] = {}
    for comparison in comparisons:
        question = questions.get(comparison.job_id)
        if question is None or comparison.deep_model != deep or comparison.model not in models:
            continue
        labels.setdefault(question, label_of(question, comparison.verdict))
    return list(labels.values())


def refit(compared: Sequence[Labelled], rated: Sequence[Labelled], shipped: Rules) -> Fitted:
    """Fit the shipped weights to the labels of a deployment.

    Args:
        rated: labels by users, of the cheaper answer alone; the fit sees them, the APGR does not.

    Raises:
        TooFewLabels: nothing was fitted.
    """
    _check(compared)
    rules = fit_to_deployment([*compared, *rated], shipped)
    held_out = held_out_scores(compared, shipped, more=rated)
    by_shipped = [score(row.prompt, 0, shipped).value for row in compared]
    return Fitted(
        rules=rules,
        apgr=apgr(compared, held_out),
        shipped_apgr=apgr(compared, by_shipped),
        length_apgr=apgr(compared, lengths(compared)),
        random_range=random_range(compared),
        tiers=_shares(compared, rules),
        shipped_tiers=_shares(compared, shipped),
    )


def _check(compared: Sequence[Labelled]) -> None:
    worse = sum(row.strong > row.weak for row in compared)
    better = sum(row.strong < row.weak for row in compared)
    if len(compared) < FEWEST_COMPARED or worse < FEWEST_WORSE:
        raise TooFewLabels(
            f"A fit needs {FEWEST_COMPARED} compared questions, {FEWEST_WORSE} of them with a"
            f" worse answer; there are {len(compared)} and {worse}."
        )
    if worse <= better:
        raise TooFewLabels(
            f"The deep tier's answers were not better on the whole: {worse} of the cheaper answers"
            f" were worse and {better} were better. No order of the questions can gain anything."
        )


def _shares(rows: Sequence[Labelled], rules: Rules) -> dict[Tier, float]:
    counts = Counter(choose_tier(score(row.prompt, 0, rules).value, rules) for row in rows)
    return {tier: counts[tier] / len(rows) for tier in TIERS}
