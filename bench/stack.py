"""What is measured: a whole stack, the stub upstream and the floor, as child processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.client import Target
from ops.readiness import free_port, http_answers
from ops.state import ROOT, StateDirectory, read_record
from ops.supervise import Supervisor

_READY_WITHIN_S = 120.0
_STOPPED_WITHIN_S = 120.0


@dataclass(frozen=True)
class Bench:
    """Everything that runs during a measurement."""

    api: Target
    stub: Target
    redis_url: str
    processes: Callable[[], dict[str, list[psutil.Process]]]

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time each part has used so far."""
        return {
            name: sum(sum(process.cpu_times()[:2]) for process in processes)
            for name, processes in self.processes().items()
        }


@contextmanager
def running(*, workers: int, first_token_ms: float, tokens: int, gap_ms: float) -> Iterator[Bench]:
    """Run `aether up` against a stub upstream for the block."""
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    stub = Target(free_port())
    stub_command = [sys.executable, "-m", _stub_module(), "--port", str(stub.port)]
    stub_command += ["--first-token-ms", str(first_token_ms), "--tokens", str(tokens)]
    stub_command += ["--token-gap-ms", str(gap_ms)]
    state = StateDirectory(folder / "v")
    api = Target(free_port())
    settings = {
        "AETHER_LLM_URL": f"http://127.0.0.1:{stub.port}",
        "AETHER_PORT": str(api.port),
        "AETHER_LOG_LEVEL": "warning",
    }
    up = [sys.executable, "-m", "ops.cli", "up", "--state", str(state.root), "--no-sample"]
    up += ["--no-flower", "--workers", str(workers)]
    try:
        with _child(stub_command) as stub_process, _child(up, **settings):
            _await(lambda: http_answers(f"http://127.0.0.1:{api.port}/readyz"), state)
            redis_url = f"redis://127.0.0.1:{read_record(state).ports['redis']}/1"
            yield Bench(api, stub, redis_url, lambda: _processes(state, stub_process.pid))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def floor_worker(bench: Bench) -> Iterator[None]:
    """Run the floor's one worker for the block."""
    command = [str(Path(sys.executable).with_name("celery")), "-A", "bench.floor_tasks:app"]
    command += ["worker", "-P", "threads", "-c", "64", "--without-gossip", "--without-mingle"]
    environment = {
        "BENCH_REDIS_URL": bench.redis_url,
        "BENCH_LLM_URL": f"http://127.0.0.1:{bench.stub.port}",
    }
    with _child([*command, "-l", "ERROR"], **environment):
        yield


@contextmanager
def _child(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AETHER_")}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(is_ready: Callable[[], bool], state: StateDirectory) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the stack did not get ready; see {state.logs}")
        time.sleep(0.2)


def _processes(state: StateDirectory, stub_pid: int) -> dict[str, list[psutil.Process]]:
    found: dict[str, list[psutil.Process]] = {
        "stub": [psutil.Process(stub_pid)],
        "client": [psutil.Process()],
    }
    for program in Supervisor(state.socket).processes():
        name = "worker" if program.name.startswith("worker-") else program.name
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(program.pid)
            found.setdefault(name, []).extend([process, *process.children(recursive=True)])
    return found


def _stub_module() -> str:
    return (
        "ops.stub_upstream" if (ROOT / "ops/stub_upstream.py").exists() else "tests.stub_upstream"
    )
