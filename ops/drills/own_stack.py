"""A stack of a drill's own: `aether up` in a temporary directory, answered by the stub upstream."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ops.drills.target import Target, find_target
from ops.stack.leftovers import end_leftovers
from ops.stack.readiness import free_port, http_answers
from ops.stack.state import ROOT, CannotRun, StateDirectory

_STUB_WITHIN_S: Final = 15.0
_UP_WITHIN_S: Final = 120.0
#: `aether up` stops its programs one rank after the other; a drill's jobs are over by then.
_DOWN_WITHIN_S: Final = 90.0
_POLL_S: Final = 0.2
#: Short enough for a drill to see what becomes of a lost worker.
_SHORT_LEASES: Final = {"AETHER_LEASE_S": "3", "AETHER_SWEEP_INTERVAL_S": "1"}


@contextmanager
def own_stack() -> Iterator[Target]:
    """Run a stack of its own; leaving ends it and removes its directory.

    When a drill failed, the directory stays for its logs.

    Raises:
        CannotRun: a part did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="aether-drill-")).resolve()
    directory = StateDirectory(folder / "state")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _stub(folder) as stub_url, _up(folder, directory, stub_url):
            yield find_target(directory, is_own=True)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    shutil.rmtree(folder)


@contextmanager
def _stub(folder: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ["-m", "ops.stub.upstream", "--port", str(port)]
    with _child(words, dict(os.environ), folder / "stub.log", stop_within_s=10.0) as process:
        _await(lambda: http_answers(f"{url}/stub/stats"), process, _STUB_WITHIN_S, folder)
        yield url


@contextmanager
def _up(folder: Path, directory: StateDirectory, stub_url: str) -> Iterator[None]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    chosen = _SHORT_LEASES | {"AETHER_PORT": str(port), "AETHER_LLM_URL": stub_url}
    options = ["--no-sample", "--no-flower", "--workers", "2", "--state", str(directory.root)]
    words = ["-m", "ops.cli", "up", *options]
    try:
        with _child(
            words, _clean_environment() | chosen, folder / "up.log", stop_within_s=_DOWN_WITHIN_S
        ) as process:
            _await(lambda: http_answers(f"{url}/readyz"), process, _UP_WITHIN_S, folder)
            yield
    finally:
        end_leftovers(directory)


def _clean_environment() -> dict[str, str]:
    """Return the environment without any setting: a drill must not reach another stack's data."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AETHER_") and name != "GROQ_API_KEY"
    }


@contextmanager
def _child(
    words: list[str], environment: dict[str, str], log: Path, *, stop_within_s: float
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the drill, which then ends its children in their order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(stop_within_s)
        process.kill()
        process.wait()


def _await(
    is_ready: Callable[[], bool], process: subprocess.Popen[bytes], within_s: float, folder: Path
) -> None:
    deadline = time.monotonic() + within_s
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise CannotRun(f"The drill's own stack did not start; its logs are in {folder}.")
        time.sleep(_POLL_S)
