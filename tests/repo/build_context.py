"""What `docker build` sends and `COPY . .` copies: the tree without what .dockerignore names."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Ignore:
    """The lines of a .dockerignore: patterns from the root down, of which the last match decides.

    A pattern matches a path and everything below it; `!` before it takes it back.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        stripped = (line.strip() for line in lines if not line.startswith("#"))
        self._rules = [
            (not line.startswith("!"), _compiled(line.removeprefix("!")))
            for line in stripped
            if line
        ]

    def holds(self, path: str) -> bool:
        """Say whether the path, relative to the root, is left out."""
        verdicts = [is_out for is_out, pattern in self._rules if pattern.fullmatch(path)]
        return bool(verdicts) and verdicts[-1]


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/"))
    return re.compile("".join(_WILD.get(part, re.escape(part)) for part in parts) + "(?:/.*)?")


def copy_context(root: Path, target: Path) -> None:
    """Copy to `target` what an image that is built at `root` would hold.

    A folder that is left out is not looked into, which `docker build` does only for lines with
    `!`; the project has none.
    """
    ignore = Ignore((root / ".dockerignore").read_text().splitlines())

    def left_out(folder: str, names: list[str]) -> set[str]:
        below = os.path.relpath(folder, root)
        return {name for name in names if ignore.holds(os.path.normpath(os.path.join(below, name)))}

    shutil.copytree(root, target, ignore=left_out)
