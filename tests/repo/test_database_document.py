"""docs/database.md names every collection and every index that there is."""

from __future__ import annotations

import re

from ops.stack.state import ROOT
from storage.format import META
from storage.records.indexes import COLLECTIONS

DOCUMENT = (ROOT / "docs/database.md").read_text()


def rows_under(title: str) -> set[str]:
    """Return the first cells of the table under a title."""
    section = DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| ([a-z_.]+) \|", section, re.MULTILINE))


def test_every_collection_is_documented_and_no_other():
    assert rows_under("Collections") == {plan.name for plan in COLLECTIONS} | {META}


def test_every_index_is_documented_and_no_other():
    made = {
        f"{plan.name}.{index.document['name']}" for plan in COLLECTIONS for index in plan.indexes
    }

    assert rows_under("Indexes") == made


def test_every_validator_is_documented():
    listed = DOCUMENT.partition("## Validators\n")[2].partition(" have a JSON schema")[0]

    validated = {plan.name for plan in COLLECTIONS if plan.schema is not None}
    assert set(re.findall(r"`(\w+)`", listed)) == validated
