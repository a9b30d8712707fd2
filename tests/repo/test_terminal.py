"""Commands print by `ops.terminal` alone, which strips what would steer the terminal."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from ops.stack.state import ROOT

MODULES = sorted(
    path for path in (ROOT / "ops").rglob("*.py") if path != ROOT / "ops" / "terminal.py"
)
#: Servers of their own, whose output nobody reads but a log.
LOGS = {ROOT / "ops" / "stub" / "upstream.py"}


WAYS = ("print", "Console", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write")


def prints(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.removesuffix("lines") in WAYS:
                yield f"{called}, line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_prints_by_the_terminal_alone(path):
    if path in LOGS:
        return

    assert list(prints(ast.parse(path.read_text()))) == []


def test_other_ways_to_print_are_found():
    tree = ast.parse("print(1)\nConsole()\nsys.stdout.writelines([])\ntyper.echo('x')\nsay(1)")

    assert len(list(prints(tree))) == 4
