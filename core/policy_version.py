"""Which version of the instructions and weights an answer was made with."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

#: What decides an answer besides the request: personas, prompts, weights.
_FILES: Final = ("personas.toml", "routing.toml")
_FOLDER: Final = Path(__file__).parent


@cache
def policy_version() -> str:
    """Return a short digest of every prompt and data file that shapes answers.

    It changes with any of their bytes, so nobody has to remember to change it.
    """
    digest = hashlib.sha256()
    for path in sorted([*map(_FOLDER.joinpath, _FILES), *_FOLDER.glob("prompts/*.md")]):
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
