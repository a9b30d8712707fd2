"""`python -m bench.router FILE`: how well the router tells hard questions from easy ones.

FILE holds one JSON object a line: `{"prompt": "…", "weak": 0.4, "strong": 1.0}` with what a weak
and a strong model's answers were worth, from 0 to 1 (bench/routing_data.py). The router ranks its
prompts; `ops.routing.quality` says what APGR is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from agents.routing import score
from bench.routing_data import read_labelled
from core.routing_rules import RULES_FILE, Rules, read_rules
from ops.routing.fit import fit, write_weights
from ops.routing.labels import Labelled
from ops.routing.quality import apgr, lengths, mean_marks, quality_at

SAMPLE: Final = Path(__file__).parent / "data" / "routing_sample.jsonl"
_SHARES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


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
    by_length = lengths(rows)
    weak, strong = mean_marks(rows)
    console.print(f"{path.name}: {len(rows)} prompts, all weak {weak:.3f}, all strong {strong:.3f}")
    console.print(
        f"APGR: router {apgr(rows, scores):.3f}, length {apgr(rows, by_length):.3f}, random 0.500"
    )
    table = Table("strong calls", "cost", "quality, router", "by length", "at random")
    for share in _SHARES:
        qualities = (
            quality_at(rows, scores, share),
            quality_at(rows, by_length, share),
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
        write_weights(options.rules, options.rules, fit(rows, rules))
        return 0
    for path in options.files:
        _report(path, rules, options.price_ratio, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
