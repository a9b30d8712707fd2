"""A stack of a test's own, and what a test does to it."""

from __future__ import annotations

import os
import signal
import subprocess

import psutil

from ops.stack.leftovers import stack_processes
from ops.stack.own import OwnStack
from ops.stack.state import ROOT
from tests.services import wait_until


class RunningStack(OwnStack):
    """A stack that an operator's commands and crashes meet; `stop` must be called at the end."""

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
            self.command(*words),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def kill_program(self, name: str) -> int:
        """Kill one program as a crash would, and return the pid it had."""
        pid = self.programs[name].pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_supervisor(self) -> None:
        for process in self.processes:
            if "supervisor.supervisord" in process.cmdline():
                process.kill()
                wait_until(lambda: not self.supervisor.is_up(), 10, "the supervisor to be gone")
