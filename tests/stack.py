"""Runs `aether up` for real, as a child process with a state directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from ops.stack.leftovers import stack_processes
from ops.stack.readiness import free_port
from ops.stack.state import ROOT, StateDirectory, read_record
from ops.stack.supervisor import ProcessStatus, Supervisor
from tests.services import wait_until

_UP_WITHIN_S = 150.0
_DOWN_WITHIN_S = 120.0


class RunningStack:
    """One `aether up`, ready to be used; `stop` must be called whatever happens.

    Args:
        options: further words of the command line, such as `--no-sample`.
        python: what runs `aether`, by default the Python of the test.
        settings: variables that replace embedded parts or change settings.
    """

    def __init__(
        self, root: Path, *options: str, python: Path | None = None, **settings: str
    ) -> None:
        self.directory = StateDirectory(root)
        self._python = str(python or sys.executable)
        self._settings = {
            "AETHER_PORT": str(free_port()),
            "AETHER_FLOWER_PORT": str(free_port()),
        } | settings
        self.url = f"http://127.0.0.1:{self._settings['AETHER_PORT']}"
        self._output = root.with_suffix(".out")
        self._process = self._spawn("up", *options)
        try:
            wait_until(self._is_up_or_over, _UP_WITHIN_S, "aether up")
            assert self._process.poll() is None, self.output
        except BaseException:
            self.destroy()
            raise

    @property
    def output(self) -> str:
        """What `aether up` has printed so far, both streams."""
        return self._output.read_text()

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.directory.socket)

    @property
    def programs(self) -> dict[str, ProcessStatus]:
        return {process.name: process for process in self.supervisor.processes()}

    @property
    def ports(self) -> dict[str, int]:
        return read_record(self.directory).ports

    @property
    def processes_of_programs(self) -> dict[str, psutil.Process]:
        """The processes that the supervisor started, which know whether they still run."""
        return {name: psutil.Process(program.pid) for name, program in self.programs.items()}

    @property
    def processes(self) -> list[psutil.Process]:
        return stack_processes(self.directory)

    def aether(self, *words: str, timeout_s: float = 200) -> subprocess.CompletedProcess[str]:
        """Run another `aether` command against this stack, as from a second terminal."""
        return subprocess.run(
            self._command(*words),
            cwd=ROOT,
            env=os.environ | self._settings,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        return self._process.wait(_DOWN_WITHIN_S)

    def kill_program(self, name: str) -> int:
        """Kill one program as a crash would, and return the pid it had."""
        pid = self.programs[name].pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_up(self) -> None:
        self._process.kill()
        self._process.wait()

    def kill_supervisor(self) -> None:
        for process in self.processes:
            if "supervisor.supervisord" in process.cmdline():
                process.kill()
                wait_until(lambda: not self.supervisor.is_up(), 10, "the supervisor to be gone")

    def destroy(self) -> None:
        """Leave nothing running, however the test went; a repeat does nothing."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for process in self.processes:
            process.kill()

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        with self._output.open("wb") as output:
            return subprocess.Popen(
                self._command(*words),
                cwd=ROOT,
                env=os.environ | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _command(self, *words: str) -> list[str]:
        state = [] if "--state" in words else ["--state", str(self.directory.root)]
        return [self._python, "-m", "ops.cli", *words, *state]

    def _is_up_or_over(self) -> bool:
        has_addresses = re.search(r"^Stop\s", self.output, re.MULTILINE)
        return bool(has_addresses) or self._process.poll() is not None
