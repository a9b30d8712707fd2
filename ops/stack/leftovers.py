"""Processes that a stack left behind when its supervisor was killed."""

from __future__ import annotations

import contextlib
from typing import Final

import psutil

from ops.stack.state import StateDirectory

#: Set in the supervisor's environment and so in every child's: the stack's state directory.
MARK: Final = "AETHER_STACK"
_GRACE_S: Final = 10.0


def stack_processes(directory: StateDirectory) -> list[psutil.Process]:
    """Return this user's processes that belong to the stack in `directory`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(directory.root):
                found.append(process)
    return found


def end_leftovers(directory: StateDirectory) -> int:
    """End the processes that no supervisor controls any more and return how many there were.

    Call it only while no supervisor answers. It has to run before a new start: two Redis servers
    on one append-only file would corrupt it.
    """
    found = stack_processes(directory)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(found, timeout=_GRACE_S)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_GRACE_S)
    return len(found)
