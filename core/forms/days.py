"""Numbers of days, for all plans or by the plan."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

_DAYS: Final = re.compile(r"\d{1,5}")


def read_days_by_plan(given: Any, plans: Collection[str]) -> dict[str, int]:
    """Return the days by plan, from `30` for all, or `trial=0,pro=90`.

    Raises:
        ValueError: it is neither, or names no plan.
    """
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, int] = {}
    for part in str(given).replace(",", " ").split():
        plan, mark, days = part.rpartition("=")
        if not _DAYS.fullmatch(days) or (mark and plan not in plans):
            raise ValueError(
                "must be a number of days such as 30, or one for each plan such as trial=0,pro=90"
            )
        found |= {plan: int(days)} if mark else dict.fromkeys(plans, int(days))
    return found
