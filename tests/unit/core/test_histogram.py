"""Percentiles of merged buckets against exact ones."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.histogram import RELATIVE_ERROR, ZERO, bucket_of, count_below, merged, quantile

values = st.lists(st.floats(1e-5, 1e8), min_size=1, max_size=200)
parts = st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0])


def histogram(numbers):
    return merged({bucket_of(number): 1} for number in numbers)


@given(values, parts)
def test_percentiles_differ_from_exact_ones_by_two_percent_at_most(numbers, part):
    exact = sorted(numbers)[int(part * (len(numbers) - 1))]

    found = quantile(histogram(numbers), part)

    assert abs(found - exact) <= exact * RELATIVE_ERROR * (1 + 1e-9)


@given(values, values, parts)
def test_merging_is_as_good_as_one_histogram_of_all(some, others, part):
    together = merged([histogram(some), histogram(others)])

    assert together == histogram(some + others)
    assert quantile(together, part) == quantile(histogram(some + others), part)


@given(values, st.floats(1e-5, 1e8))
def test_values_far_below_a_bound_count_and_those_far_above_do_not(numbers, bound):
    below = count_below(histogram(numbers), bound)

    least = sum(number <= bound for number in numbers)
    most = sum(number <= bound * (1 + 3 * RELATIVE_ERROR) for number in numbers)
    assert least <= below <= most


def test_nothing_has_no_percentile():
    assert quantile({}, 0.5) is None
    assert merged([]) == {}


@pytest.mark.parametrize("value", [0, -3, 1e-9])
def test_what_is_too_small_counts_as_zero(value):
    assert bucket_of(value) == ZERO
    assert quantile({ZERO: 3}, 0.99) == 0.0


@pytest.mark.parametrize("value", [1e9, 1e300, math.inf])
def test_what_is_too_large_counts_in_the_last_bucket(value):
    assert bucket_of(value) == bucket_of(1e9)
    assert quantile({bucket_of(value): 1}, 0.5) == pytest.approx(1e9, rel=2 * RELATIVE_ERROR)


def test_what_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="numbers only"):
        bucket_of(math.nan)
