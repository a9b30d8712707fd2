"""Settings in days, for all plans or by the plan."""

from __future__ import annotations

import pytest

from core.forms.days import read_days_by_plan

PLANS = ("trial", "pro")


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("30", {"trial": 30, "pro": 30}),
        ("0", {"trial": 0, "pro": 0}),
        ("trial=0", {"trial": 0}),
        ("trial=0, pro=90", {"trial": 0, "pro": 90}),
        ("30 pro=90", {"trial": 30, "pro": 90}),
        ("", {}),
    ],
)
def test_days_are_read_by_plan(text, days):
    assert read_days_by_plan(text, PLANS) == days


@pytest.mark.parametrize("text", ["-1", "1.5", "free=3", "trial", "trial=", "=3", "trial:3", "1e9"])
def test_anything_else_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="must be a number of days"):
        read_days_by_plan(text, PLANS)
