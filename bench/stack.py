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
from bench.cpu import Parts
from ops.stack.leftovers import stack_processes
from ops.stack.readiness import free_port, http_answers
from ops.stack.state import ROOT, StateDirectory, read_record
from ops.stack.supervisor import Supervisor

_READY_WITHIN_S = 120.0
_STOPPED_WITHIN_S = 120.0
_TAIL_CHARS = 2_000


@dataclass(frozen=True)
class Bench:
    """Everything that runs during a measurement; `parts` looks the processes up anew."""

    api: Target
    stub: Target
    redis_url: str
    parts: Callable[[], Parts]


@contextmanager
def running(*, workers: int, api_processes: int, **chosen: str) -> Iterator[Bench]:
    """Run `aether up` against a stub upstream of 20 ms and 10 tokens for the block.

    Args:
        chosen: further settings, by the names of their variables.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    state, api, stub = StateDirectory(folder / "v"), Target(free_port()), Target(free_port())
    stub_command = [sys.executable, "-m", "ops.stub.upstream", "--port", str(stub.port)]
    stub_command += ["--first-token-ms", "20", "--tokens", "10", "--token-gap-ms", "0"]
    settings = {
        "AETHER_LLM_URL": f"http://127.0.0.1:{stub.port}",
        "AETHER_PORT": str(api.port),
        "AETHER_API_PROCESSES": str(api_processes),
        "AETHER_LOG_LEVEL": "warning",
    } | chosen
    up = [sys.executable, "-m", "ops.cli.main", "up", "--state", str(state.root), "--no-sample"]
    up += ["--no-flower", "--workers", str(workers)]
    log = folder / "output.log"
    try:
        with _child(stub_command, log) as stub_process, _child(up, log, **settings) as up_process:
            ready_url = f"http://127.0.0.1:{api.port}/readyz"
            _await(lambda: http_answers(ready_url), up_process, log)
            redis_url = f"redis://127.0.0.1:{read_record(state).ports['redis']}/1"
            yield Bench(api, stub, redis_url, lambda: _parts(state, stub_process.pid))
    finally:
        # Nothing is left unless `aether up` itself had to be killed.
        for process in stack_processes(state):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def floor_worker(bench: Bench) -> Iterator[Parts]:
    """Run the floor's one worker for the block, beside the idle stack whose Redis it uses."""
    command = [str(Path(sys.executable).with_name("celery")), "-A", "bench.floor_tasks:app"]
    command += ["worker", "-P", "threads", "-c", "64", "--without-gossip", "--without-mingle"]
    environment = {
        "BENCH_REDIS_URL": bench.redis_url,
        "BENCH_LLM_URL": f"http://127.0.0.1:{bench.stub.port}",
    }
    with _child([*command, "-l", "ERROR"], Path(os.devnull), **environment) as process:
        worker = {"floor's worker": [psutil.Process(process.pid)]}
        yield {
            f"{name} (idle)" if _is_aether(name) else name: found
            for name, found in bench.parts().items()
        } | worker


@contextmanager
def _child(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AETHER_")}
    # Neither a real key nor a proxy may be used, whatever the environment holds.
    stubbed = {"GROQ_API_KEY": "stub", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=kept | stubbed | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
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


def _await(is_ready: Callable[[], bool], up: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not is_ready():
        if up.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-_TAIL_CHARS:]
            raise RuntimeError(f"the stack did not get ready; it said:\n{tail}")
        time.sleep(0.2)


def _parts(state: StateDirectory, stub_pid: int) -> Parts:
    found: Parts = {"stub": [psutil.Process(stub_pid)], "client": [psutil.Process()]}
    for program in Supervisor(state.socket).processes():
        name = "workers" if program.name.startswith("worker-") else program.name
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(program.pid)
            found.setdefault(name, []).extend([process, *process.children(recursive=True)])
    return found


def _is_aether(name: str) -> bool:
    return name in {"api", "workers", "upkeep", "beat", "mongo"}
