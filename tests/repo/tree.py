"""What the tests of the repository look at."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

from core.settings import Settings, variable_of
from ops.stack.state import ROOT

#: Every package at the root; those of the product are all but what measures and tests it.
ALL_PACKAGES = tuple(sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
PACKAGES = tuple(name for name in ALL_PACKAGES if name not in ("bench", "tests"))


def modules() -> list[Path]:
    """Return the modules of the product, in the order of their names."""
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [ROOT / "celeryconfig.py", *found]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(root: Path, packages: tuple[str, ...]) -> dict[str, ast.Module]:
    """Return the syntax tree of every module in the packages, by dotted name."""
    trees = {}
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text())
    return trees


def tracked_texts() -> dict[str, str]:
    """Return every text file that is, or is about to be, part of the repository, by its name."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            texts[name] = path.read_bytes().decode("utf-8", errors="replace")
    return texts


def setting_names() -> set[str]:
    """Return the variable of each setting."""
    return set(map(variable_of, Settings.model_fields))
