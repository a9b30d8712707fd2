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
    """One named agent; its prompt version is part of what an answer depends on."""

    name: str
    title: str
    role: str
    tier: Tier
    prompt_version: str
    skills: frozenset[str]
    prompt: str


def load_personas() -> dict[str, Persona]:
    """Read the personas that ship, by name, in the order of their file."""
    rows = tomllib.loads((_FOLDER / "personas.toml").read_text())
    return {
        name: msgspec.convert({"name": name, "prompt": _read_prompt(name), **row}, Persona)
        for name, row in rows.items()
    }


def _read_prompt(name: str) -> str:
    return (_FOLDER / "prompts" / f"{name}.md").read_text().strip()
