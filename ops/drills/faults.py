"""The faults that drills and fault tests inject into the programs and stores of a stack."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import psutil
from redis.exceptions import RedisError

from ops.drills.target import Target
from ops.stack.programs import DRAIN_S
from ops.stack.readiness import wait_until

_BACK_WITHIN_S: Final = 60.0
_STOPPED_WITHIN_S: Final = 60.0
#: Less than an empty Redis has.
_TOO_LITTLE_MEMORY: Final = "100kb"


def kill(target: Target, *names: str) -> dict[str, int]:
    """Kill programs at the same moment and wait until the supervisor has replaced them.

    Returns the pids that they had.
    """
    pids = {name: target.pids()[name] for name in names}
    signal_trees(pids.values(), signal.SIGKILL)
    await_others(target, pids)
    return pids


def await_others(target: Target, pids: Mapping[str, int]) -> None:
    """Wait until the programs run under other pids than these, and the API is ready.

    Raises:
        CannotRun: they did not come back.
    """

    def are_back() -> bool:
        now = target.pids()
        return all(now.get(name, pid) != pid for name, pid in pids.items()) and target.is_ready()

    wait_until(are_back, _BACK_WITHIN_S, f"{' and '.join(pids)} to come back")


def restart(target: Target, name: str) -> float:
    """Stop a program as an operator would and start it again; returns how long it was away."""
    began_s = time.monotonic()
    with stopped(target, name):
        pass
    return time.monotonic() - began_s


@contextmanager
def stopped(target: Target, *names: str) -> Iterator[None]:
    """Stop programs for the block, start them after it and wait until they run."""
    for name in names:
        # A worker ends the jobs that it has.
        within_s = DRAIN_S + 10.0 if name.startswith("worker-") else _STOPPED_WITHIN_S
        target.supervisor.stop(name, within_s)
    try:
        yield
    finally:
        for name in names:
            target.supervisor.start(name)
        await_others(target, dict.fromkeys(names, 0))


@contextmanager
def frozen(target: Target, *names: str) -> Iterator[dict[str, int]]:
    """Suspend programs for the block, with their connections left open; yields their pids."""
    pids = {name: target.pids()[name] for name in names}
    signal_trees(pids.values(), signal.SIGSTOP)
    try:
        yield pids
    finally:
        signal_trees(pids.values(), signal.SIGCONT)


def signal_trees(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes and all their children; those that have ended are skipped."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def wipe_redis(target: Target) -> int:
    """Remove all that Redis holds and return how many keys it was."""
    with target.redis() as redis:
        count = redis.dbsize()
        redis.flushall()
    return int(count)


def close_connections(target: Target) -> int:
    """Close every connection to Redis from its side, and return how many they were."""
    closed = 0
    with target.redis() as redis:
        for kind in ("normal", "pubsub"):
            with suppress(RedisError):
                closed += int(redis.client_kill_filter(_type=kind, skipme=True))
    return closed


@contextmanager
def full(target: Target) -> Iterator[None]:
    """Let Redis be out of memory for the block: it refuses every write that needs any."""
    with _configured(target, "maxmemory", _TOO_LITTLE_MEMORY):
        yield


@contextmanager
def without_replicas(target: Target) -> Iterator[None]:
    """Have Redis want a replica that it does not have, for the block: it refuses every write."""
    with _configured(target, "min-replicas-to-write", "1"):
        yield


@contextmanager
def read_only(target: Target) -> Iterator[None]:
    """Make Redis the replica of a server that is not there, for the block; it keeps its data."""
    with target.redis() as redis:
        redis.replicaof("127.0.0.1", "1")
        try:
            yield
        finally:
            redis.replicaof("NO", "ONE")


@contextmanager
def _configured(target: Target, name: str, value: str) -> Iterator[None]:
    with target.redis() as redis:
        before = str(redis.config_get(name)[name])
        redis.config_set(name, value)
        try:
            yield
        finally:
            redis.config_set(name, before)
