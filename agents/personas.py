"""The agents as data: `personas.toml` says who they are, `prompts/` what they are told."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from core.models import Tier

_FOLDER: Final = Path(__file__).parent


class Persona(Struct, frozen=True, kw_only=True):
    """One named agent; its prompt version is part of what an answer depends on.

    Attributes:
        skills: words and phrases that name its speciality, and how strongly (1 to 3).
    """

    name: str
    title: str
    role: str
    tier: Tier
    prompt_version: str
    skills: dict[str, int]
    prompt: str


def load_personas() -> dict[str, Persona]:
    """Read the personas that ship, by name, in the order of their file."""
    rows = tomllib.loads((_FOLDER / "personas.toml").read_text())
    return {
        name: msgspec.convert(
            row | {"name": name, "prompt": read_prompt(name), "skills": _weights(row["skills"])},
            Persona,
        )
        for name, row in rows.items()
    }


def _weights(terms_by_weight: dict[str, list[str]]) -> dict[str, int]:
    return {term: int(weight) for weight, terms in terms_by_weight.items() for term in terms}


def read_prompt(name: str) -> str:
    """Return the instructions in one file of `prompts/`."""
    return (_FOLDER / "prompts" / f"{name}.md").read_text().strip()
