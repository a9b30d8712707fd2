"""The models that can answer, their bounds and their prices."""

from __future__ import annotations

import math
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from core.chat import Usage

Tier = Literal["quick", "standard", "deep"]
#: From the cheapest to the strongest.
TIERS: Final[tuple[Tier, ...]] = ("quick", "standard", "deep")
Tokens = Annotated[int, Meta(gt=0)]
#: The upper bound keeps what is not a number, or not finite, out of what users are billed.
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]

_SHIPPED: Final = Path(__file__).with_name("models.toml")
#: Characters of English text per token, on the low side, so that estimates err upwards.
_CHARS_PER_TOKEN: Final = 3.5
#: What a persona's prompt and the message frame add to a request, at most.
PROMPT_TOKENS: Final = 900


class Model(Struct, frozen=True, kw_only=True):
    """One model; prices are dollars per million tokens, `fallback` answers in its place."""

    id: str
    context_tokens: Tokens
    max_output_tokens: Tokens
    input_usd: Usd
    cached_input_usd: Usd
    output_usd: Usd
    fallback: str | None = None


class Catalogue(Struct, frozen=True, kw_only=True):
    """One provider's models."""

    prices_as_of: date
    tiers: dict[Tier, str]
    models: dict[str, Model]

    def for_tier(self, tier: Tier) -> Model:
        return self.models[self.tiers[tier]]

    def tier_of(self, model_id: str) -> Tier:
        """Return the cheapest tier that a model answers for; one that no tier names is deep."""
        return next((tier for tier in TIERS if self.tiers[tier] == model_id), TIERS[-1])

    def get(self, model_id: str) -> Model | None:
        return self.models.get(model_id)

    def cost_micros(self, model: Model, usage: Usage) -> int:
        """Return the price of the usage in micro-dollars, rounded up to a whole one.

        A price per million tokens in dollars is the price per token in micro-dollars.
        """
        fresh_tokens = usage.input_tokens - usage.cached_input_tokens
        price = (
            fresh_tokens * model.input_usd
            + usage.cached_input_tokens * model.cached_input_usd
            + usage.output_tokens * model.output_usd
        )
        return math.ceil(round(price, 6))

    def estimate_micros(self, model: Model, prompt_chars: int, max_tokens: int) -> int:
        """Return what a request can cost at most, for its reservation."""
        usage = Usage(
            input_tokens=PROMPT_TOKENS + math.ceil(prompt_chars / _CHARS_PER_TOKEN),
            output_tokens=max_tokens,
        )
        return self.cost_micros(model, usage)


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text is; for where no provider has counted.

    Counts bytes of UTF-8: one per English character, three per Chinese one, which is a token.
    """
    return math.ceil(len(text.encode(errors="replace")) / _CHARS_PER_TOKEN)


def cut_to_tokens(text: str, most_tokens: int) -> str:
    """Return as much of the beginning of a text as `estimate_tokens` gives so many tokens."""
    most_bytes = int(most_tokens * _CHARS_PER_TOKEN)
    return text.encode(errors="replace")[:most_bytes].decode(errors="ignore")


def read_catalogue(provider: str, path: Path | None = None) -> Catalogue:
    """Read one provider's section of the catalogue that ships, or of the file at `path`.

    Raises:
        ValueError: no such file or section, or it does not make a catalogue.
    """
    source = path or _SHIPPED
    try:
        sections = tomllib.loads(source.read_text())
        return _to_catalogue(msgspec.convert(sections[provider], dict[str, Any]))
    except KeyError:
        raise ValueError(f"{source} has no models of the provider {provider!r}") from None
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{source}: {error}") from error


def _to_catalogue(section: dict[str, Any]) -> Catalogue:
    models = msgspec.convert(section.get("models"), dict[str, dict[str, Any]])
    named = {name: {**fields, "id": name} for name, fields in models.items()}
    catalogue = msgspec.convert(section | {"models": named}, Catalogue, strict=False)
    wanted = {*catalogue.tiers.values()} | {
        model.fallback for model in catalogue.models.values() if model.fallback
    }
    unknown = wanted - catalogue.models.keys()
    missing = set(TIERS) - catalogue.tiers.keys()
    if unknown or missing:
        raise msgspec.ValidationError(f"no entry for {sorted(unknown | missing)}")
    return catalogue
