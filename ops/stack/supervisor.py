"""A client of the running supervisor, over its Unix socket."""

from __future__ import annotations

import http.client
import socket
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.stack.state import CannotRun

_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.2
#: The supervisor's fault for a program without a process.
_NOT_RUNNING: Final = 70
RUNNING: Final = "RUNNING"
#: A program in these states is not started anew.
_STOPPED: Final = frozenset({"STOPPED", "FATAL"})
GONE: Final = _STOPPED | {"EXITED"}


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One program's state; `pid` is 0 while it does not run."""

    name: str
    state: str
    pid: int
    uptime_s: int
    note: str


class Supervisor:
    """The supervisor at the socket `path`; every method raises CannotRun when none answers."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_up(self) -> bool:
        try:
            self._call("getState")
        except CannotRun:
            return False
        return True

    def processes(self) -> list[ProcessStatus]:
        """Return every program, in the order of their ranks."""
        found: list[dict[str, Any]] = self._call("getAllProcessInfo")
        return [_status(info) for info in found]

    def start(self, name: str) -> None:
        """Start a program without waiting until it runs."""
        self._call("startProcess", name, False)

    def add(self, name: str) -> None:
        """Reload the configuration and start the program `name`, which is new in it."""
        self._call("reloadConfig")
        self._call("addProcessGroup", name)
        self.start(name)

    def stop(self, name: str, timeout_s: float) -> None:
        """Stop a program and wait until it has ended; it stays in the configuration.

        One that has just died is stopped, too: it would be started anew. A repeat does nothing.

        Raises:
            CannotRun: it did not end within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        is_stopping = False
        while True:
            is_stopping = is_stopping or self._begin_to_stop(name)
            if is_stopping and self._state_of(name) in GONE:
                return
            if time.monotonic() > deadline:
                raise CannotRun(f"{name} did not end within {timeout_s:.0f} s.")
            time.sleep(_POLL_S)

    def _begin_to_stop(self, name: str) -> bool:
        """Return False where the program is between a death and its new start."""
        try:
            self._call("stopProcess", name, False)
        except _NotRunning:
            return self._state_of(name) in _STOPPED
        return True

    def drain(self, name: str, timeout_s: float) -> None:
        """Stop a program and remove it from the running configuration.

        Raises:
            CannotRun: it did not end within `timeout_s`.
        """
        self.stop(name, timeout_s)
        self._call("removeProcessGroup", name)

    def shut_down(self) -> None:
        """Begin to stop every program, highest rank first, and then the supervisor itself."""
        self._call("shutdown")

    def _state_of(self, name: str) -> str:
        return str(self._call("getProcessInfo", name)["statename"])

    def _call(self, method: str, *arguments: str | bool) -> Any:
        try:
            with xmlrpc.client.ServerProxy("http://supervisor", _UnixTransport(self._path)) as rpc:
                return getattr(rpc.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException) as error:
            raise CannotRun("No stack runs here; start one with `aether up`.") from error
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _NOT_RUNNING:
                raise _NotRunning(f"{arguments[0]} does not run.") from fault
            raise CannotRun(f"The supervisor refused {method}: {fault.faultString}.") from fault


class _NotRunning(CannotRun):
    """The program has no process now."""


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        # The base class closes what it finds here.
        self._connection = host, connection
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))


def _status(info: dict[str, Any]) -> ProcessStatus:
    running = info["statename"] == RUNNING
    return ProcessStatus(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        uptime_s=info["now"] - info["start"] if running else 0,
        note=info["spawnerr"] or ("" if running else info["description"]),
    )
