"""Programs of Debian for tests: those of the machine, or packages unpacked beside the venvs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.stack.state import ROOT

_UNPACKED = ROOT / ".venvs" / "debian"


def nginx() -> Path:
    """Return nginx; skips the test on a laptop that cannot have it."""
    found = shutil.which("nginx")
    return Path(found) if found else _unpacked("nginx", "nginx") / "usr/sbin/nginx"


def redis_7() -> tuple[Path, dict[str, str]]:
    """Return Debian's redis-server and the variables that it needs; skips as `nginx`."""
    packages = ("redis-server", "redis-tools", "libjemalloc2", "liblua5.1-0", "liblzf1")
    folder = _unpacked("redis", *packages, "lua-bitop", "lua-cjson")
    libraries = ":".join(str(path) for path in (folder / "usr/lib").glob("*-linux-gnu"))
    return folder / "usr/bin/redis-server", {"LD_LIBRARY_PATH": libraries}


def _unpacked(name: str, *packages: str) -> Path:
    """Return the folder that the packages' files are in."""
    folder = _UNPACKED / name
    if folder.exists():
        return folder
    draft = _UNPACKED / f"{name}.{os.getpid()}"
    draft.mkdir(parents=True, exist_ok=True)
    try:
        _download(draft, packages)
        for package in draft.glob("*.deb"):
            _run(draft, "dpkg", "-x", package.name, ".")
        draft.rename(folder)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} cannot be had: {error}")
        pytest.skip(f"{name} cannot be had here.")
    return folder


def _download(folder: Path, packages: tuple[str, ...]) -> None:
    try:
        _run(folder, "apt-get", "download", "-qq", *packages)
    except subprocess.CalledProcessError:
        # The lists of a fresh machine are empty or old.
        _run(folder, "apt-get", "update", "-qq")
        _run(folder, "apt-get", "download", "-qq", *packages)


def _run(folder: Path, *words: str) -> None:
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=300)
