"""On each other Python that Aether supports: install the lock, start, answer one job, stop."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ops.stack.state import ROOT
from tests.api_client import ApiClient
from tests.stack import RunningStack

pytestmark = pytest.mark.long

#: Those of 3.11 to 3.13 that do not run this test.
OTHERS = sorted({(3, 11), (3, 12), (3, 13)} - {sys.version_info[:2]})


def interpreter_of(version: str) -> Path | None:
    """Return a Python of this version that runs: on PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = [Path(folder, f"python{version}") for folder in os.get_exec_path()]
    candidates = (*on_path, *pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    return next((python for python in candidates if says_version(python, version)), None)


def says_version(python: Path, version: str) -> bool:
    """Say whether it runs; a shim of pyenv exists also where nothing is behind it."""
    if not os.access(python, os.X_OK):
        return False
    said = subprocess.run([python, "-V"], capture_output=True, text=True, timeout=30, check=False)
    return said.stdout.startswith(f"Python {version}.")


@pytest.fixture(params=OTHERS, ids=lambda version: ".".join(map(str, version)))
def python(request) -> Path:
    """The Python of a venv that holds what `make run` installs, made by `make` itself."""
    version = ".".join(map(str, request.param))
    base = interpreter_of(version)
    if base is None:
        pytest.skip(f"No Python {version} runs here, so that it is left out.")
    venv = f".venvs/{version}"
    subprocess.run(
        ["make", "--silent", f"VENV={venv}", f"PYTHON={base}", f"{venv}/.stamp-run"],
        cwd=ROOT,
        timeout=900,
        check=True,
    )
    return ROOT / venv / "bin" / "python"


def test_the_main_job_is_answered_from_the_lock(python, tmp_path_factory):
    root = tmp_path_factory.mktemp("s") / "v"
    with RunningStack(root, "--no-sample", "--workers", "1", python=str(python)) as stack:
        with closing(ApiClient(stack.url)) as api:
            submitted = api.submit("Help me build a scalable web app", max_tokens=16)
            job = api.end_of(submitted.raise_for_status().json()["id"], timeout_s=150)

        assert job["answer"]["text"]
        assert stack.interrupt() == 0
        assert stack.processes == []
