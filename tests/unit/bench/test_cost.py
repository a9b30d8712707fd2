"""A job's processor time: which programs are charged."""

from __future__ import annotations

import subprocess

import pytest

from bench.client import Measured
from bench.cost import _worktree, cost_ms
from ops.stack.state import ROOT


def test_a_job_is_charged_every_program_of_the_stack_and_not_the_load():
    measured = Measured(
        cpu_ms={"api": 2.0, "workers": 4.0, "redis": 0.5, "stub": 9.0, "client": 9.0}
    )

    assert cost_ms(measured) == 6.5


def test_the_other_side_is_a_checkout_of_its_own_when_the_block_runs(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")

    with _worktree("HEAD") as tree:
        assert (tree / "celeryconfig.py").is_file()
        assert tree != ROOT

    listed = subprocess.run(
        ("git", "worktree", "list"), cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert str(tree) not in listed.stdout


def test_an_unknown_revision_is_named():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")

    with pytest.raises(RuntimeError, match="no-such-revision"), _worktree("no-such-revision"):
        pass
