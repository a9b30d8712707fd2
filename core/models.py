"""The catalogue of models: tiers, limits, prices and fallbacks."""

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
SamplingOption = Literal["temperature", "top_k", "top_p", "min_p", "repeat_penalty"]
Tokens = Annotated[int, Meta(gt=0)]
#: Bounded, so that a price that is infinite or no number cannot reach a bill.
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]

_SHIPPED: Final = Path(__file__).with_name("models.toml")
#: Characters of English text per token; a low value, so that estimates err upwards.
_CHARS_PER_TOKEN: Final = 3.5
#: At most so many tokens are added to a request by a persona's prompt and the chat template.
PROMPT_TOKENS: Final = 900


class Model(Struct, frozen=True, kw_only=True):
    """One model; prices are dollars per million tokens.

    Attributes:
        fallback: the id of the model to call when this one fails.
        system_prompt: which system prompt it wants: a persona's own, one sentence, or none.
        sampling: how it picks tokens where a request does not say: `temperature`, and what servers
            like llama.cpp take besides: `top_k`, `top_p`, `min_p`, `repeat_penalty`.
    """

    id: str
    context_tokens: Tokens
    max_output_tokens: Tokens
    input_usd: Usd
    cached_input_usd: Usd
    output_usd: Usd
    fallback: str | None = None
    system_prompt: Literal["full", "brief", "none"] = "full"
    sampling: dict[SamplingOption, Annotated[float, Meta(ge=0, le=1_000)]] = {}


class Catalogue(Struct, frozen=True, kw_only=True):
    """One provider's models by id, and the model of each tier."""

    prices_as_of: date
    tiers: dict[Tier, str]
    models: dict[str, Model]

    def for_tier(self, tier: Tier) -> Model:
        return self.models[self.tiers[tier]]

    def tier_of(self, model_id: str) -> Tier:
        """Return the cheapest tier that has this model, or the deep tier when none has it."""
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
        """Return the most that a request can cost, in micro-dollars, for its reservation."""
        usage = Usage(
            input_tokens=PROMPT_TOKENS + math.ceil(prompt_chars / _CHARS_PER_TOKEN),
            output_tokens=max_tokens,
        )
        return self.cost_micros(model, usage)


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text that no provider has counted.

    The estimate counts bytes of UTF-8. An English character has one; a Chinese character, which is
    about one token, has three.
    """
    return math.ceil(len(text.encode(errors="replace")) / _CHARS_PER_TOKEN)


def cut_to_tokens(text: str, most_tokens: int) -> str:
    """Return the longest beginning of the text of at most `most_tokens` by `estimate_tokens`."""
    most_bytes = int(most_tokens * _CHARS_PER_TOKEN)
    return text.encode(errors="replace")[:most_bytes].decode(errors="ignore")


def read_catalogue(provider: str, path: Path | None = None) -> Catalogue:
    """Read one provider's section of the shipped catalogue, or of the file at `path`.

    Raises:
        ValueError: the file or section is missing or invalid.
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
