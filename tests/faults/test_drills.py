"""`aether drill`, as an operator would use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ops.cli import drills
from ops.cli.main import app
from ops.drills.evidence import Account, Evidence, JobEvidence
from ops.drills.invariants import judge
from ops.drills.registry import DRILLS, chosen, hindrance
from ops.drills.run import Result
from ops.stack.state import ROOT, StateDirectory

pytestmark = pytest.mark.faults


def drill(*words, timeout_s=30):
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", "drill", *words],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture
def target(tmp_path, monkeypatch):
    """A stack that is only spoken of: it runs no program and harms nobody."""
    target = SimpleNamespace(
        directory=StateDirectory(tmp_path), is_own=False, stub_url="http://stub", pids=dict
    )

    @contextmanager
    def found(_):
        yield target

    monkeypatch.setattr(drills, "_target", found)
    return target


def result_of(name, *jobs):
    verdict = judge(Evidence(jobs))
    return Result(name, verdict, 0.0, Counter(job.status for job in jobs), Counter(), ())


def test_the_list_and_the_document_name_every_drill():
    shown = drill("list")
    documented = re.findall(r"^\| ([a-z-]+) \|", (ROOT / "docs/drills.md").read_text(), re.M)

    names = [known.name for known in DRILLS]
    assert shown.returncode == 0
    assert [name for name in names if not re.search(rf"^ *{name} ", shown.stdout, re.M)] == []
    assert [name for name in names if name not in documented] == []


@pytest.mark.parametrize("name", ["kill-worker", "cancel-storm", "restore"])
def test_nothing_is_lost_when_a_drill_runs_on_a_stack_of_its_own(name, tmp_path):
    done = drill("run", name, "--jobs", "12", "--state", str(tmp_path / "none"), timeout_s=400)

    assert done.returncode == 0, done.stdout + done.stderr
    row = re.search(rf"^ *{name} +12 +12 +0 +0 +0 +0 +[0-9.]+ *$", done.stdout, re.M)
    assert row, done.stdout


def test_the_status_is_1_when_an_invariant_is_broken(target, monkeypatch):
    stuck = JobEvidence(job_id="job_0", shown=Account("in_progress", "", 0.0))
    monkeypatch.setattr(drills, "run_drill", lambda d, *_, **__: result_of(d.name, stuck))

    done = CliRunner().invoke(app, ["drill", "run", "cancel-storm"])

    assert done.exit_code == 1
    assert "job_0 is stuck" in done.stdout


def test_a_disruptive_drill_is_refused_when_the_stack_is_not_its_own(target):
    done = CliRunner().invoke(app, ["drill", "run", "wipe-redis"])

    assert done.exit_code == 1
    assert "--yes-this-is-staging" in done.stderr


def test_a_drill_that_does_not_exist_is_answered_with_those_that_do():
    done = drill("run", "flood")

    assert done.returncode == 1
    assert "No drill flood" in done.stderr
    assert "kill-worker" in done.stderr


def test_a_drill_says_what_hinders_it(target):
    target.stub_url = ""

    (storm,), (wipe,) = chosen("upstream-storm"), chosen("wipe-redis")

    assert "stub upstream" in hindrance(storm, target, is_staging=False)
    assert "does not run redis" in hindrance(wipe, target, is_staging=True)
