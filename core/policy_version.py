"""Which version of the instructions and weights an answer was made with."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from core.routing_rules import RULES_FILE

_FOLDER: Final = Path(__file__).parent


@cache
def policy_version(routing_file: Path | None = None) -> str:
    """Return a short digest of every prompt and data file that shapes answers.

    It changes with any of their bytes, so nobody has to remember to change it. A process computes
    it once, as it reads the files once.

    Args:
        routing_file: the router's data file, where it is not the one that ships.
    """
    digest = hashlib.sha256()
    prompts = sorted(_FOLDER.glob("prompts/*.md"))
    for path in (_FOLDER / "personas.toml", *prompts, routing_file or RULES_FILE):
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
