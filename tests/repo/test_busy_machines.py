"""Tests pass on a busy machine: none sleeps, and no child inherits an ignored signal."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.stack.state import ROOT

TESTS = sorted((ROOT / "tests").rglob("*.py"))
#: What these wait for is time itself: the step of a poll, and a delay that a proxy makes.
MAY_SLEEP = {"tests/services.py", "tests/tcp_proxy.py"}
#: The loop goes on to the next task of its own, and no time has to pass.
YIELDS = "asyncio.sleep(0)"
_CLOCK = ("time.monotonic() - ", "time.time() - ", "time.perf_counter() - ")


def flaws_of(tree: ast.Module, *, may_sleep: bool = False) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called, words = ast.unparse(node.func), {word.arg for word in node.keywords}
            sleeps = called.endswith("sleep") and ast.unparse(node) != YIELDS
            if sleeps and not may_sleep:
                yield f"line {node.lineno}: {called}"
            if called.endswith("Popen") and "preexec_fn" not in words:
                yield f"line {node.lineno}: Popen without default_signals"
        # A wait may be asked to be long enough, never short enough.
        is_upper = isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE)
        if isinstance(node, ast.expr) and is_upper and ast.unparse(node).startswith(_CLOCK):
            yield f"line {node.lineno}: a bound on the clock"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_waits_for_a_state_and_not_for_time(path: Path):
    name = str(path.relative_to(ROOT))

    assert list(flaws_of(ast.parse(path.read_text()), may_sleep=name in MAY_SLEEP)) == []


def test_flaws_are_found():
    late = "assert time.monotonic() - began < 2"
    tree = ast.parse(f"time.sleep(1)\nsubprocess.Popen(['x'])\n{late}")

    assert len(list(flaws_of(tree))) == 3
