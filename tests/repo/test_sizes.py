"""A module is one noun and a function does one thing; these are the limits."""

from __future__ import annotations

import ast

import pytest

from tests.repo.tree import modules, name_of

MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40
#: The life of a job is told in one function, which may be longer.
LONGER = {"workers/run_job.py": {"run": 60}}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_is_short_and_says_what_it_is(path):
    text = path.read_text()

    assert len(text.splitlines()) <= MAX_MODULE_LINES
    assert ast.get_docstring(ast.parse(text)), "no docstring"


def body_lines(function):
    """Count a function's lines below its signature and docstring."""
    first = function.body[1 if ast.get_docstring(function) else 0 :][:1]
    return function.end_lineno - first[0].lineno + 1 if first else 0


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_function_is_short(path):
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    limits = LONGER.get(name_of(path), {})
    long = {node.name: body_lines(node) for node in functions}
    assert {
        name: lines for name, lines in long.items() if lines > limits.get(name, MAX_FUNCTION_LINES)
    } == {}
