"""The agents as data: `personas.toml` has their names and skills, `prompts/` their prompts."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from core.models import Model, Tier

_FOLDER: Final = Path(__file__).parent
_SYNTHESIS: Final = "synthesis"
_JUDGE: Final = "judge"
_TITLE: Final = "title"


class Persona(Struct, frozen=True, kw_only=True):
    """One named agent.

    Attributes:
        prompt: the system prompt of every call; none is sent where it is empty.
        brief: the same in one sentence, for models that a long prompt confuses.
        revision_prompt: the instruction to revise its reply; empty for one that never revises.
        skills: terms (words or phrases) that point to this agent, each with its weight, 1 to 3.
    """

    name: str
    title: str
    role: str
    tier: Tier
    prompt_version: str
    prompt: str
    brief: str
    revision_prompt: str = ""
    skills: dict[str, int] = {}


def prompted_for(persona: Persona, model: Model) -> Persona:
    """Return the persona with the system prompt that the model wants: whole, brief or none."""
    prompts = {"full": persona.prompt, "brief": persona.brief, "none": ""}
    return structs.replace(persona, prompt=prompts[model.system_prompt])


@cache
def agent_names() -> tuple[str, ...]:
    """Return the names of the agents that a request may ask for, in the file's order."""
    return tuple(load_personas())


def load_personas() -> dict[str, Persona]:
    """Read the shipped personas by name, in the file's order."""
    revision_prompt = _read_prompt("revision")
    return {
        name: _to_persona(name, row, revision_prompt=revision_prompt)
        for name, row in _read_rows().items()
        if name not in (_SYNTHESIS, _JUDGE, _TITLE)
    }


def load_synthesis() -> Persona:
    """Read the persona that synthesizes a team's replies; a request cannot ask for it."""
    return _to_persona(_SYNTHESIS, _read_rows()[_SYNTHESIS])


def load_judge() -> Persona:
    """Read the persona that compares two answers; a request cannot ask for it."""
    return _to_persona(_JUDGE, _read_rows()[_JUDGE])


def load_title() -> Persona:
    """Read the persona that finds titles of conversations; a request cannot ask for it."""
    return _to_persona(_TITLE, _read_rows()[_TITLE])


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
