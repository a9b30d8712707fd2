"""`python -m bench.routing_leaks FIT … --test TEST … --out FILE`: keeps tests out of a fit.

All are labelled files (bench/routing_data.py). A prompt to fit to is dropped if it shares a run of
13 words with a prompt of a test, as in the contamination check of GPT-3 (arXiv 2005.14165,
appendix C), or, where it is shorter, all its words in their order. Case and punctuation do not
count, nor does a run that more than 3 test prompts have: that is an instruction, not a question.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.routing_data import read_labelled
from ops.routing.labels import Labelled

_RUN_WORDS: Final = 13
_MOST_TEST_PROMPTS: Final = 3
_WORD: Final = re.compile(r"\w+")


def without_leaks(rows: Sequence[Labelled], tests: Iterable[Labelled]) -> list[Labelled]:
    """Return the rows whose prompts share no run of words with the prompt of a test."""
    counts = Counter(run for row in tests for run in _runs(row.prompt))
    of_tests = {run for run, count in counts.items() if count <= _MOST_TEST_PROMPTS}
    return [row for row in rows if of_tests.isdisjoint(_runs(row.prompt))]


def _runs(prompt: str) -> set[str]:
    words = _WORD.findall(prompt.lower())
    last = max(0, len(words) - _RUN_WORDS)
    return {" ".join(words[start : start + _RUN_WORDS]) for start in range(last + 1)}


def main() -> int:
    """Write the rows that are kept and say how many of each source were dropped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FIT")
    parser.add_argument("--test", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = [row for path in options.files for row in read_labelled(path)]
    tests = [row for path in options.test for row in read_labelled(path)]
    kept = without_leaks(rows, tests)
    options.out.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in kept))
    before, after = (Counter(row.source for row in some) for some in (rows, kept))
    for source, count in sorted(before.items()):
        print(f"{source or 'no source'}: {count - after[source]} of {count} dropped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
