"""`aether up`: starts a stack, waits until it answers, and runs until it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import psutil

from core.strays import without_strays
from ops.stack.config import write_config
from ops.stack.leftovers import MARK, end_leftovers
from ops.stack.logs import tail
from ops.stack.prepare import prepare_stores
from ops.stack.programs import Program, Stack, embedded_programs, own_programs
from ops.stack.resolve import addresses_of
from ops.stack.state import CannotRun, Record, write_record
from ops.stack.supervisor import GONE, RUNNING, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

_READY_WITHIN_S: Final = 90.0
_SUPERVISOR_WITHIN_S: Final = 15.0
_POLL_S: Final = 0.1
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(stack: Stack, console: Console, when_ready: Callable[[], None]) -> int:
    """Run the stack in the foreground; return 0 when all of it has stopped on request.

    Args:
        when_ready: called once, when every program answers.

    Raises:
        CannotRun: a program did not get ready, or the supervisor ended by itself.
    """
    parts, own = embedded_programs(stack), own_programs(stack)
    write_config(stack.directory, [*parts, *own])
    addresses = addresses_of(stack.settings)
    write_record(stack.directory, Record(stack.ports, stack.api_url, stack.flower_url, addresses))
    with _interruptible(), _supervisor(stack, console) as process:
        try:
            _start(stack, parts, console)
            prepare_stores(stack.settings, is_own_database="mongo" in stack.embedded)
            _start(stack, own, console)
            when_ready()
            returncode = process.wait()
        except KeyboardInterrupt:
            return 0
    if returncode:
        raise CannotRun(
            f"The supervisor ended by itself, see {stack.directory.logs}/supervisor.log."
        )
    return 0


def _start(stack: Stack, programs: list[Program], console: Console) -> None:
    supervisor = Supervisor(stack.directory.socket)
    for program in programs:
        supervisor.start(program.name)
    started_s, waiting = time.monotonic(), list(programs)
    with console.status("") as status:
        while waiting:
            status.update(f"Waiting for {', '.join(program.name for program in waiting)} …")
            states = {found.name: found.state for found in supervisor.processes()}
            for program in [p for p in waiting if _is_ready(p, states[p.name])]:
                waiting.remove(program)
                console.print(f"  [green]ready[/]  {program.name:<10} {_since(started_s):5.1f} s")
            failed = [p.name for p in waiting if states[p.name] == "FATAL"]
            if failed or (waiting and _since(started_s) > _READY_WITHIN_S):
                raise NotReady(stack, (failed or [waiting[0].name])[0])
            time.sleep(_POLL_S)


class NotReady(CannotRun):
    """A program did not become ready; the message ends with the tail of its log."""

    def __init__(self, stack: Stack, name: str) -> None:
        lines = "\n".join(tail(stack.directory.log_of(name), 20))
        super().__init__(f"{name} did not get ready. The end of its log:\n{lines}")


def _is_ready(program: Program, state: str) -> bool:
    return program.ready() if program.ready and state not in GONE else state == RUNNING


def _since(started_s: float) -> float:
    return time.monotonic() - started_s


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make every signal that ends a process raise KeyboardInterrupt, also where it was ignored."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _supervisor(stack: Stack, console: Console) -> Iterator[subprocess.Popen[bytes]]:
    """Run a supervisor; on leaving, stop every program and wait until the last one has ended."""
    directory = stack.directory
    directory.socket.unlink(missing_ok=True)
    environment = without_strays(os.environ) | stack.environment() | {MARK: str(directory.root)}
    os.umask(0o077)
    with (directory.supervisor / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(directory.config)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C must reach this process alone, which then stops the programs in their order.
            start_new_session=True,
        )
    try:
        _await_socket(stack, process)
        yield process
    finally:
        _stop(stack, process, console)


def _await_socket(stack: Stack, process: subprocess.Popen[bytes]) -> None:
    supervisor = Supervisor(stack.directory.socket)
    deadline = time.monotonic() + _SUPERVISOR_WITHIN_S
    while not supervisor.is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            output = "\n".join(tail(stack.directory.supervisor / "output.log", 20))
            raise CannotRun(f"The supervisor did not start:\n{output}")
        time.sleep(_POLL_S)


def _stop(stack: Stack, process: subprocess.Popen[bytes], console: Console) -> None:
    workers: list[psutil.Process] = []
    for number in _ENDING:
        signal.signal(number, lambda *_: _kill(workers))
    if process.poll() is None:
        console.print(
            "Stopping: workers end their jobs; Ctrl-C again leaves them to the next start."
        )
        workers += _workers(stack)
        process.terminate()
        process.wait()
    end_leftovers(stack.directory)


def _workers(stack: Stack) -> list[psutil.Process]:
    with suppress(CannotRun, psutil.NoSuchProcess):
        found = Supervisor(stack.directory.socket).processes()
        return [psutil.Process(p.pid) for p in found if p.pid and p.name.startswith("worker-")]
    return []


def _kill(workers: list[psutil.Process]) -> None:
    """End workers at once; other workers take over their jobs when the leases run out."""
    for process in workers:
        with suppress(psutil.NoSuchProcess):
            process.kill()
