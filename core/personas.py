"""The agents as data: `personas.toml` says who they are, `prompts/` what they are told."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from core.models import Tier

_FOLDER: Final = Path(__file__).parent
_SYNTHESIS: Final = "synthesis"
_JUDGE: Final = "judge"


class Persona(Struct, frozen=True, kw_only=True):
    """One named agent; its prompt version is part of what an answer depends on.

    Attributes:
        prompt: what it is told first, in every call.
        revision_prompt: what it is told when it revises its reply; empty if it never does.
        skills: words and phrases that name its speciality, and how strongly (1 to 3).
    """

    name: str
    title: str
    role: str
    tier: Tier
    prompt_version: str
    prompt: str
    revision_prompt: str = ""
    skills: dict[str, int] = {}


@cache
def agent_names() -> tuple[str, ...]:
    """Return the names that a request may ask for, in the order of their file."""
    return tuple(load_personas())


def load_personas() -> dict[str, Persona]:
    """Read the personas that ship, by name, in the order of their file."""
    revision_prompt = _read_prompt("revision")
    return {
        name: _to_persona(name, row, revision_prompt=revision_prompt)
        for name, row in _read_rows().items()
        if name not in (_SYNTHESIS, _JUDGE)
    }


def load_synthesis() -> Persona:
    """Read who makes one answer of a team's replies; nobody can ask for it by name."""
    return _to_persona(_SYNTHESIS, _read_rows()[_SYNTHESIS])


def load_judge() -> Persona:
    """Read who compares two answers; nobody can ask for it by name."""
    return _to_persona(_JUDGE, _read_rows()[_JUDGE])


def _read_rows() -> dict[str, dict[str, Any]]:
    return tomllib.loads((_FOLDER / "personas.toml").read_text())


def _to_persona(name: str, row: dict[str, Any], *, revision_prompt: str = "") -> Persona:
    own = {
        "name": name,
        "prompt": _read_prompt(name),
        "revision_prompt": revision_prompt,
        "skills": _weights(row.get("skills", {})),
    }
    return msgspec.convert(row | own, Persona)


def _weights(terms_by_weight: dict[str, list[str]]) -> dict[str, int]:
    return {term: int(weight) for weight, terms in terms_by_weight.items() for term in terms}


def _read_prompt(name: str) -> str:
    return (_FOLDER / "prompts" / f"{name}.md").read_text().strip()
