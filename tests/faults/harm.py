"""What tests do to the programs of a stack."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import httpx
from redis import Redis

from ops.stack.supervisor import RUNNING
from storage import keys
from tests.services import wait_until
from tests.stack import RunningStack

WORKERS = ("worker-1", "worker-2")
_BACK_WITHIN_S = 30.0
_STOPPED_WITHIN_S = 60.0


def is_whole(stack: RunningStack) -> bool:
    """Say whether every program runs and the API is ready."""
    states = {program.state for program in stack.programs.values()}
    if states != {RUNNING}:
        return False
    try:
        return httpx.get(f"{stack.url}/readyz", timeout=10).is_success
    except httpx.TransportError:
        return False


def await_other_pid(stack: RunningStack, name: str, pid: int) -> None:
    """Wait until the supervisor has put another process in the place of a killed one."""

    def is_back() -> bool:
        program = stack.programs[name]
        return program.state == RUNNING and program.pid != pid

    wait_until(is_back, _BACK_WITHIN_S, f"{name} to be restarted")


def kill(stack: RunningStack, *names: str) -> None:
    """Kill programs at the same moment and wait until others run in their place."""
    pids = {name: stack.kill_program(name) for name in names}
    for name, pid in pids.items():
        await_other_pid(stack, name, pid)


def restart(stack: RunningStack, name: str) -> None:
    """Stop a program as an operator would, start it, and wait until the stack is whole again."""
    with stopped(stack, name):
        pass
    wait_until(lambda: is_whole(stack), _BACK_WITHIN_S, f"{name} to run again")


def make_due(redis: Redis, job_ids: Sequence[str]) -> None:
    """Have the sweeper look at jobs now that it would leave to the workers for ten seconds."""
    for job_id in job_ids:
        redis.zadd(keys.dispatch(job_id), {job_id: 1}, xx=True)


@contextmanager
def stopped(stack: RunningStack, *names: str) -> Iterator[None]:
    """Have programs away for the block."""
    for name in names:
        stack.supervisor.stop(name, _STOPPED_WITHIN_S)
    try:
        yield
    finally:
        for name in names:
            stack.supervisor.start(name)


@contextmanager
def frozen(stack: RunningStack, *names: str) -> Iterator[list[int]]:
    """Have programs stand still for the block, connections and all; yields their pids."""
    pids = [stack.programs[name].pid for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield pids
    finally:
        for pid in pids:
            # The block may have killed it.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
