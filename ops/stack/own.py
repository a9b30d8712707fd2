"""Child processes with an end: a server, and a whole stack with a state directory of its own.

Drills, benchmarks and tests start every server and every stack here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from ops.stack.leftovers import end_leftovers
from ops.stack.readiness import free_port, http_answers, wait_until
from ops.stack.state import ROOT, CannotRun, StateDirectory, read_record
from ops.stack.supervisor import RUNNING, ProcessStatus, Supervisor

_ANSWERS_WITHIN_S: Final = 20.0
_ENDS_WITHIN_S: Final = 20.0
_STACK_UP_WITHIN_S: Final = 150.0
#: `aether up` stops its programs one rank after the other.
_STACK_DOWN_WITHIN_S: Final = 120.0
_TAIL_CHARS: Final = 2_000


class Child:
    """A program of this machine, started and waited for; `restart` keeps its port and its data.

    Args:
        url: where it answers.
        answers: whether it can be used.
        log: takes what it prints; what is there is kept.
        environment: all its variables; None hands on this process's own.
        folder: where it is started.
        is_apart: it does not see a Ctrl-C that is pressed here: this process ends it then.

    Raises:
        CannotRun: it ended or did not answer in time; the message has the end of its log.
    """

    def __init__(
        self,
        url: str,
        command: Sequence[str],
        answers: Callable[[], bool],
        log: Path,
        *,
        environment: dict[str, str] | None = None,
        folder: Path = ROOT,
        is_apart: bool = False,
        answers_within_s: float = _ANSWERS_WITHIN_S,
        ends_within_s: float = _ENDS_WITHIN_S,
    ) -> None:
        self.url = url
        self.log = log
        self.environment = environment
        self._command = command
        self._folder = folder
        self._is_apart = is_apart
        self._answers = answers
        self._answers_within_s = answers_within_s
        self._ends_within_s = ends_within_s
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def answers(self) -> bool:
        """Whether it can be used now."""
        return self._answers()

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def output(self) -> str:
        """What it has printed, both streams."""
        return self.log.read_text(errors="replace")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=self._is_apart,
                preexec_fn=default_signals,
            )
        try:
            what = f"{self.url} to answer; see {self.log}"
            wait_until(lambda: self.has_ended or self._answers(), self._answers_within_s, what)
            if self.has_ended:
                raise CannotRun(f"It ended instead of answering:\n{self.output[-_TAIL_CHARS:]}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it as an operator would; a repeat does nothing."""
        self.process.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a crash would; a repeat does nothing."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Return the exit status once it has ended; raises TimeoutExpired."""
        return self.process.wait(self._ends_within_s)

    def restart(self) -> None:
        self.stop()
        self.start()


class OwnStack(Child):
    """`aether up`, ready to be used; no setting and no key of this process's shell reaches it.

    Args:
        root: its state directory, with a path that is short enough for a Unix socket.
        options: further words of the command line, such as `--no-sample`.
        python: the interpreter that runs `aether`.
        tree: the checkout that is run.
        settings: variables that replace embedded parts or change settings.
    """

    def __init__(
        self,
        root: Path,
        *options: str,
        python: str = sys.executable,
        tree: str = str(ROOT),
        **settings: str,
    ) -> None:
        self.directory = StateDirectory(root)
        self._python = python
        ports = {"AETHER_PORT": str(free_port()), "AETHER_FLOWER_PORT": str(free_port())}
        # Whoever runs it signs up often.
        chosen = ports | {"AETHER_SIGN_UPS_PER_MINUTE": "100000"} | settings
        log = root.with_suffix(".out")
        log.unlink(missing_ok=True)
        super().__init__(
            f"http://127.0.0.1:{chosen['AETHER_PORT']}",
            self.command("up", *options),
            self._has_shown_addresses,
            log,
            environment=clean_environment() | chosen,
            folder=Path(tree),
            is_apart=True,
            answers_within_s=_STACK_UP_WITHIN_S,
            ends_within_s=_STACK_DOWN_WITHIN_S,
        )

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.directory.socket)

    @property
    def programs(self) -> dict[str, ProcessStatus]:
        return {program.name: program for program in self.supervisor.processes()}

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each program that runs."""
        return {name: found.pid for name, found in self.programs.items() if found.state == RUNNING}

    @property
    def ports(self) -> dict[str, int]:
        """The ports of its embedded parts."""
        return read_record(self.directory).ports

    def command(self, *words: str) -> list[str]:
        """Return an `aether` command for this stack."""
        state = [] if "--state" in words else ["--state", str(self.directory.root)]
        return [self._python, "-m", "ops.cli", *words, *state]

    def stop(self) -> None:
        """End it and whatever a killed `aether up` left behind; a repeat does nothing."""
        super().stop()
        end_leftovers(self.directory)

    def _has_shown_addresses(self) -> bool:
        """Say whether `aether up` has printed its last lines: everything is up by then."""
        return bool(re.search(r"^Stop\s", self.output, re.MULTILINE))


def clean_environment() -> dict[str, str]:
    """Return this process's variables without settings, keys and proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AETHER_") and name != "GROQ_API_KEY"
    }
    return kept | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def default_signals() -> None:
    """Undo in a child what it inherits: started by a background job, it would ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def stub_upstream(folder: Path, *options: str) -> Child:
    """Start the stub upstream; `url` is what AETHER_LLM_URL takes.

    Args:
        options: words of its command line, such as `--tokens 5`.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "ops.stub.upstream", "--port", str(port), *options)
    return Child(url, command, lambda: http_answers(f"{url}/stub/stats"), folder / "stub.log")


@contextmanager
def own_stack(
    *options: str, stub: Sequence[str] = (), tree: str = str(ROOT), **settings: str
) -> Iterator[tuple[OwnStack, Child]]:
    """Run a stack, and a stub upstream in place of its model, in a temporary directory.

    The directory is removed, but for a block that raises: its logs are wanted.

    Args:
        options: further words of `aether up`.
        stub: words of the stub's command line.
        tree: the checkout that the stack runs.

    Raises:
        CannotRun: a part did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="aether-")).resolve()
    quiet = ("--no-sample", "--no-flower", *options)
    try:
        with (
            stub_upstream(folder, *stub) as upstream,
            OwnStack(
                folder / "state", *quiet, tree=tree, **({"AETHER_LLM_URL": upstream.url} | settings)
            ) as stack,
        ):
            yield stack, upstream
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
