"""What repeats runs in a `Loop`, which outlives every error and says when it last turned."""

from __future__ import annotations

import ast

import pytest

from ops.stack.state import ROOT

PACKAGES = ("agents", "cache", "monitoring", "storage", "web", "workers")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: Threads of one step, and gunicorn's own hook: what they are there for.
ONE_STEP = {
    "workers/worker.py": "looks once whether the provider lists the catalogue's models",
    "workers/loop_watch.py": "leaves the process when a warm shutdown takes too long",
    "web/gunicorn_conf.py": "ends with its worker, and waits for nothing else",
}
STARTS = ("threading.Thread", "threading.Timer", "gevent.spawn")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_repeats_in_a_bare_thread(path):
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))

    started = [ast.unparse(call.func) for call in calls if ast.unparse(call.func) in STARTS]

    assert started == [] or str(path.relative_to(ROOT)) in ONE_STEP
