"""`python -m bench.router FILE`: how well the router tells hard questions from easy ones.

FILE holds one JSON object a line: `{"prompt": "…", "weak": 0.4, "strong": 1.0}` with the scores
that a weak and a strong model's answers got, from 0 to 1, and optionally `"source"`, the
name of the collection it is from.

The router ranks the prompts; the hardest go to the strong model. PGR is the part of the gap between
weak and strong that a share of strong calls recovers, APGR its mean over all shares: 0.5 for a
random order, 1 at best if every strong answer that helps came first (arXiv 2406.18665).
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from agents.routing import score
from bench.router_fit import fit, write_weights
from core.routing_rules import RULES_FILE, Rules, read_rules

SAMPLE: Final = Path(__file__).parent / "data" / "routing_sample.jsonl"
_SHARES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_SEED: Final = 1


class Labelled(Struct, frozen=True):
    """A prompt, and what a weak and a strong model's answers were worth."""

    prompt: str
    weak: float
    strong: float
    source: str = ""


def read_labelled(path: Path) -> list[Labelled]:
    """Read a labelled file.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: a line is none of its form.
    """
    lines = path.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Labelled) for line in lines if line.strip()]


def apgr(rows: Sequence[Labelled], scores: Sequence[float]) -> float:
    """Return the mean of PGR over all shares; rows of one score come in a random order."""
    recovered = _recovered(rows, scores)
    return statistics.fmean((a + b) / 2 for a, b in pairwise(recovered))


def quality_at(rows: Sequence[Labelled], scores: Sequence[float], share: float) -> float:
    """Return the mean score when this share of the prompts goes to the strong model."""
    weak, strong = _means(rows)
    return weak + (strong - weak) * _recovered(rows, scores)[round(share * len(rows))]


def _means(rows: Sequence[Labelled]) -> tuple[float, float]:
    return (
        statistics.fmean(row.weak for row in rows),
        statistics.fmean(row.strong for row in rows),
    )


def _recovered(rows: Sequence[Labelled], scores: Sequence[float]) -> list[float]:
    """Return PGR after 0, 1, 2, … strong calls, hardest first."""
    shuffled = list(zip(scores, rows, strict=True))
    random.Random(_SEED).shuffle(shuffled)
    shuffled.sort(key=lambda pair: pair[0], reverse=True)
    gains = [row.strong - row.weak for _, row in shuffled]
    gap = sum(gains)
    if gap <= 0:
        raise ValueError("the strong scores have to be higher than the weak ones on the whole")
    return [gain / gap for gain in accumulate(gains, initial=0.0)]


def measured_scores(rows: Sequence[Labelled], rules: Rules) -> tuple[list[float], list[float]]:
    """Return each prompt's score, and how long each decision took, in milliseconds."""
    scores, took_ms = [], []
    for row in rows:
        began = time.perf_counter()
        scores.append(score(row.prompt, 0, rules).value)
        took_ms.append((time.perf_counter() - began) * 1000)
    return scores, took_ms


def _report(path: Path, rules: Rules, price_ratio: float, console: Console) -> None:
    rows = read_labelled(path)
    scores, took_ms = measured_scores(rows, rules)
    lengths = [float(len(row.prompt)) for row in rows]
    weak, strong = _means(rows)
    console.print(f"{path.name}: {len(rows)} prompts, all weak {weak:.3f}, all strong {strong:.3f}")
    console.print(
        f"APGR: router {apgr(rows, scores):.3f}, length {apgr(rows, lengths):.3f}, random 0.500"
    )
    table = Table("strong calls", "cost", "quality, router", "by length", "at random")
    for share in _SHARES:
        qualities = (
            quality_at(rows, scores, share),
            quality_at(rows, lengths, share),
            weak + share * (strong - weak),
        )
        cost = share + (1 - share) * price_ratio
        table.add_row(f"{share:.0%}", f"{cost:.0%}", *(f"{quality:.3f}" for quality in qualities))
    console.print(table)
    p95_ms = statistics.quantiles(took_ms, n=20)[-1]
    console.print(f"A decision took {statistics.median(took_ms):.2f} ms, p95 {p95_ms:.2f} ms.")


def main() -> int:
    """Print the figures of each file, or fit the weights to all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", default=[SAMPLE])
    parser.add_argument(
        "--price-ratio", type=float, default=0.5, help="a weak call's price over a strong one's"
    )
    parser.add_argument("--rules", type=Path, default=RULES_FILE, help="the router's data file")
    parser.add_argument("--fit", action="store_true", help="fit the weights and write that file")
    options = parser.parse_args()
    rules = read_rules(options.rules)
    if options.fit:
        rows = [row for path in options.files for row in read_labelled(path)]
        write_weights(options.rules, *fit(rows, rules))
        return 0
    for path in options.files:
        _report(path, rules, options.price_ratio, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
