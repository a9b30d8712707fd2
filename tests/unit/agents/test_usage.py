"""Which claims of a provider about used tokens are believed."""

from __future__ import annotations

import pytest

from agents.groq.chunks import to_chunk, to_usage
from core.chat import Usage


@pytest.mark.parametrize("number", [10, 10.0, "10", " 10 ", "10.0"])
def test_numbers_are_read_in_every_form_that_servers_write(number):
    usage = {
        "prompt_tokens": number,
        "completion_tokens": number,
        "prompt_tokens_details": {"cached_tokens": number},
    }

    assert to_usage(usage) == Usage(input_tokens=10, cached_input_tokens=10, output_tokens=10)


@pytest.mark.parametrize(
    "number",
    [-1, -1e6, 10.5, None, True, "", "ten", "-5", "１２", [], {}, 10**12, 9_300_000_000_000_000_000,
     10**40, float("inf"), float("nan"), "1e5", "9" * 50],
)  # fmt: skip
@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens"])
def test_usage_is_as_if_none_had_come_when_a_number_makes_no_sense(field, number):
    assert to_usage({"prompt_tokens": 7, "completion_tokens": 2} | {field: number}) is None


@pytest.mark.parametrize("cached", [8, -1, "many", 10**20])
def test_usage_is_as_if_none_had_come_when_its_cached_tokens_make_no_sense(cached):
    details = {"cached_tokens": cached}

    assert to_usage({"prompt_tokens": 7, "prompt_tokens_details": details}) is None


@pytest.mark.parametrize("details", [None, 5, [], {"cached_tokens": None}, {}])
def test_nothing_was_cached_when_nothing_says_so(details):
    found = to_usage({"prompt_tokens": 7, "prompt_tokens_details": details})

    assert found == Usage(input_tokens=7)


@pytest.mark.parametrize("usage", [None, [], "7", {}, {"total_tokens": 5}])
def test_no_usage_came_when_it_has_another_type(usage):
    assert to_chunk({"choices": [], "usage": usage}).usage is None


def test_usage_of_groq_is_found_where_the_other_place_has_nonsense():
    found = to_chunk({"usage": {"prompt_tokens": -1}, "x_groq": {"usage": {"prompt_tokens": 7}}})

    assert found.usage == Usage(input_tokens=7)
