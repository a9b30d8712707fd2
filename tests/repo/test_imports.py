"""What imports and file names hold together: no circle, no forgotten package, core on its own.

The directions of imports are contracts in pyproject.toml, which `lint-imports` checks.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from ops.stack.state import ROOT
from tests.repo.tree import ALL_PACKAGES, PACKAGES, parsed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


def imports_of(tree: ast.Module, known: Mapping[str, ast.Module]) -> set[str]:
    """Return which of the known modules it imports: in functions and for types alone, too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & known.keys()) or {node.module}
    return found & known.keys()


def circle_in(trees: Mapping[str, ast.Module]) -> list[str]:
    """Return the modules of one circle, each of which imports the next; empty without one."""
    imports = {name: imports_of(tree, trees) for name, tree in trees.items()}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle[::-1]
    return []


def sources(**texts):
    return {name: ast.parse(text) for name, text in texts.items()}


@pytest.mark.parametrize(
    "back",
    [
        "import a",
        "from a import thing",
        "def later():\n    from a import thing",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import Thing",
    ],
)
def test_a_circle_is_found_wherever_its_imports_stand(back):
    circle = circle_in(sources(a="import b", b="from c import x", c=back, d="import a"))

    assert sorted(set(circle)) == ["a", "b", "c"]


def test_modules_that_import_downward_make_no_circle():
    assert circle_in(sources(a="import b\nimport c", b="from c import x", c="import json")) == []


def test_no_module_imports_itself_by_way_of_others():
    assert circle_in(parsed(ROOT, ALL_PACKAGES)) == []


def test_every_package_is_checked_for_its_imports_and_types_and_sorted_as_ours():
    assert set(PROJECT["importlinter"]["root_packages"]) == set(ALL_PACKAGES)
    assert set(PROJECT["mypy"]["packages"]) >= {*PACKAGES, "bench"}
    assert set(PROJECT["ruff"]["lint"]["isort"]["known-first-party"]) == {
        *ALL_PACKAGES,
        "celeryconfig",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "core").glob("*.py")), ids=lambda path: path.name)
def test_core_reads_no_file_outside_its_folder(path):
    text = path.read_text()

    assert set(re.findall(r"__file__\)([.\w]*)", text)) <= {".parent", ".with_name"}
    assert not re.search(r"""\bopen\(|\bparents\b|\.cwd\(|\.home\(|["']\.\.""", text)
