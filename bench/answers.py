"""`python -m bench.answers`: how good the answers of the stack's model are, of 40 points.

Twenty short questions are asked one after the other, each worth a point for two patterns that a
right answer matches. It asks a running stack, past its cache.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from ops.client import ApiClient, checked

SAMPLE: Final = Path(__file__).parent / "data" / "answers.jsonl"
_ANSWER_WITHIN_S: Final = 60


def points(answer: str, marks: list[str]) -> int:
    """Return how many of the patterns the answer matches."""
    return sum(re.search(mark, answer.strip(), re.DOTALL) is not None for mark in marks)


def main() -> int:
    """Ask every question and print points and time; return 1 if one was not answered."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8001", help="where the API is")
    parser.add_argument("--show", action="store_true", help="print the answers, too")
    options = parser.parse_args()
    rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    table, total, missing = Table("question", "points", "s"), 0, 0
    with ApiClient(options.url) as api:
        api.demo_login()
        for row in rows:
            began_s = time.monotonic()
            asked = checked(api.submit(row["prompt"], max_tokens=120, cache={"mode": "bypass"}))
            job = api.job(asked["id"], wait=_ANSWER_WITHIN_S)
            text = job["answer"]["text"] if job["answer"] else ""
            missing += not text
            won = points(text, row["marks"])
            total += won
            shown = f"{row['prompt']}\n{text}" if options.show else row["prompt"]
            table.add_row(shown, str(won), f"{time.monotonic() - began_s:.1f}")
    console = Console()
    console.print(table)
    console.print(f"{total} of {2 * len(rows)} points")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
