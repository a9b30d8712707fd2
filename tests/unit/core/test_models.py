"""The catalogue, and what things cost."""

from __future__ import annotations

import pytest

from core.chat import Usage
from core.models import estimate_tokens, read_catalogue

CATALOGUE = read_catalogue("groq")


def test_every_tier_has_a_model_at_every_provider():
    for provider in ("groq", "embedded"):
        catalogue = read_catalogue(provider)

        assert {catalogue.for_tier(t).id for t in ("quick", "standard", "deep")} <= set(
            catalogue.models
        )


@pytest.mark.parametrize(
    ("usage", "micros"),
    [
        (Usage(), 0),
        (Usage(input_tokens=1_000_000), 75_000),
        (Usage(input_tokens=1_000_000, cached_input_tokens=1_000_000), 37_500),
        (Usage(output_tokens=1_000_000), 300_000),
        (Usage(output_tokens=1), 1),
    ],
)
def test_cost_is_the_price_rounded_up_to_a_micro_dollar(usage, micros):
    assert CATALOGUE.cost_micros(CATALOGUE.for_tier("quick"), usage) == micros


def test_reservation_covers_the_longest_answer():
    model = CATALOGUE.for_tier("deep")

    reserved = CATALOGUE.estimate_micros(model, 4_000, 1_000)

    assert reserved >= CATALOGUE.cost_micros(model, Usage(input_tokens=1_000, output_tokens=1_000))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[groq",
        "groq = 5",
        "[groq]\nmodels = 3",
        "[groq]\nmodels = { a = 3 }",
        "[groq]\nprices_as_of = 2026-01-01\ntiers = { quick = 'a', standard = 'a', deep = 'a' }\n"
        "[groq.models.a]\ncontext_tokens = 1\nmax_output_tokens = 1\ninput_usd = -1.0\n"
        "cached_input_usd = 1.0\noutput_usd = 1.0",
        "[groq]\nprices_as_of = 2026-01-01\ntiers = { quick = 'a', standard = 'a', deep = 'a' }\n"
        "[groq.models.a]\ncontext_tokens = 1\nmax_output_tokens = 1\ninput_usd = 1.0\n"
        "cached_input_usd = 1.0\noutput_usd = nan",
        "[groq]\nprices_as_of = 2026-01-01\ntiers = { quick = 'a' }\n[groq.models.a]",
        "[groq]\nprices_as_of = 2026-01-01\ntiers = { quick = 'a', standard = 'b', deep = 'a' }\n"
        "[groq.models.a]\ncontext_tokens = 1\nmax_output_tokens = 1\ninput_usd = 1.0\n"
        "cached_input_usd = 1.0\noutput_usd = 1.0",
    ],
)
def test_file_that_is_no_catalogue_is_refused_by_name(text, tmp_path):
    file = tmp_path / "models.toml"
    file.write_text(text)

    with pytest.raises(ValueError, match=r"models\.toml"):
        read_catalogue("groq", file)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a" * 35, 10), ("问题" * 35, 60), ("\ud800", 1)]
)
def test_tokens_are_estimated_by_how_much_is_written(text, tokens):
    assert estimate_tokens(text) == tokens


def test_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.toml"):
        read_catalogue("groq", tmp_path / "absent.toml")
