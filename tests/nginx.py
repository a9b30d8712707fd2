"""A real nginx: that of the machine, or Debian's package, unpacked beside the venvs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.stack.state import ROOT

_UNPACKED = ROOT / ".venvs" / "nginx"


def nginx() -> Path:
    """Return the program; skips the test on a laptop that cannot have it."""
    found = shutil.which("nginx") or str(_UNPACKED / "usr" / "sbin" / "nginx")
    if not Path(found).exists():
        _unpack()
    return Path(found)


def _unpack() -> None:
    _UNPACKED.mkdir(parents=True, exist_ok=True)
    try:
        _run("apt-get", "download", "-qq", "nginx")
    except (OSError, subprocess.CalledProcessError):
        try:
            _run("apt-get", "update", "-qq")
            _run("apt-get", "download", "-qq", "nginx")
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"There is no nginx: {error}")
            pytest.skip("There is no nginx.")
    (package,) = _UNPACKED.glob("nginx_*.deb")
    _run("dpkg", "-x", package.name, ".")


def _run(*words: str) -> None:
    subprocess.run(words, cwd=_UNPACKED, check=True, capture_output=True, timeout=300)
