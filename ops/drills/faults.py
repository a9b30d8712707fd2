"""What the drills do to a stack's programs and stores while a load runs."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx
import psutil
from redis.exceptions import RedisError

from ops.drills.invariants import Violation
from ops.drills.load import Load
from ops.drills.target import Target
from ops.stack.programs import DRAIN_S
from ops.stack.state import CannotRun
from ops.stack.supervisor import RUNNING

_STOP_WITHIN_S: Final = 40.0
_BACK_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.2
#: Submits while MongoDB is away, one second apart.
_PROBES: Final = 8
_BETWEEN_PROBES_S: Final = 1.0
#: A refusal has to come before a client's patience ends.
_REFUSED_WITHIN_S: Final = 1.0
_REFUSALS: Final = frozenset({"503 with Retry-After", "429 with Retry-After"})
_RESETS: Final = 5
_BETWEEN_RESETS_S: Final = 0.4
#: How long a thawed worker has for the writes it must not be allowed.
_THAWED_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """What a drill itself saw, besides the invariants."""

    notes: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


def kill_workers(target: Target, load: Load, chooser: random.Random) -> Found:
    """Kill two workers with SIGKILL in the middle of answers, the second when the first is back."""
    load.wait_until_streaming()
    load.mark_fault()
    killed = []
    for name in _workers(target, chooser)[:2]:
        pid = target.pids()[name]
        os.kill(pid, signal.SIGKILL)
        killed.append(f"{name} (pid {pid})")
        _await_program(target, name, other_than=pid)
    return Found((f"killed {' and '.join(killed)}",))


def freeze_and_kill(target: Target, load: Load, chooser: random.Random) -> Found:
    """Freeze a worker until its leases have run out, thaw it for a moment, then kill it."""
    load.wait_until_streaming()
    name = _workers(target, chooser)[0]
    pid = target.pids()[name]
    frozen_s = target.settings.lease_s + 3.0
    load.mark_fault()
    try:
        _signal_tree(pid, signal.SIGSTOP)
        time.sleep(frozen_s)
    finally:
        _signal_tree(pid, signal.SIGCONT)
    time.sleep(_THAWED_S)
    _signal_tree(pid, signal.SIGKILL)
    _await_program(target, name, other_than=pid)
    return Found((f"froze {name} (pid {pid}) for {frozen_s:.0f} s",))


def restart_redis(target: Target, load: Load, _: random.Random) -> Found:
    """Stop Redis as an operator would and start it again on the same data."""
    load.wait_until_streaming()
    load.mark_fault()
    away_s = _restart(target, "redis", _STOP_WITHIN_S)
    return Found((f"Redis was away for {away_s:.1f} s",))


def wipe_redis(target: Target, load: Load, _: random.Random) -> Found:
    """Remove all that Redis holds; accepted jobs come back from their records."""
    load.wait_until_streaming()
    load.mark_fault()
    with target.redis() as redis:
        gone: Any = redis.dbsize()
        redis.flushall()
    return Found((f"removed {gone} keys",))


def stop_mongo(target: Target, load: Load, _: random.Random) -> Found:
    """Take MongoDB away for a while; submitting has to be refused at once and jobs go on."""
    load.wait_until_streaming(share=0.25)
    load.mark_fault()
    try:
        target.supervisor.stop("mongo", _STOP_WITHIN_S)
        refusals = [_refusal(load) for _turn in range(_PROBES)]
    finally:
        _start(target, "mongo")
    return _worst(refusals)


def reset_connections(target: Target, load: Load, _: random.Random) -> Found:
    """Close every connection to Redis, several times."""
    load.wait_until_streaming()
    load.mark_fault()
    closed = 0
    for _turn in range(_RESETS):
        with target.redis() as redis:
            for kind in ("normal", "pubsub"):
                with suppress(RedisError):
                    closed += int(redis.client_kill_filter(_type=kind, skipme=True))
        time.sleep(_BETWEEN_RESETS_S)
    return Found((f"closed {closed} connections in {_RESETS} rounds",))


def rolling_restart(target: Target, load: Load, _: random.Random) -> Found:
    """Restart every program of the stack, one by one, while jobs keep coming."""
    load.wait_until_streaming(share=0.1)
    load.mark_fault()
    notes = []
    for name in sorted(target.pids(), reverse=True):
        within_s = DRAIN_S + 10.0 if name.startswith("worker-") else _STOP_WITHIN_S
        notes.append(f"{name} {_restart(target, name, within_s):.1f} s")
    return Found((f"restarted {', '.join(notes)}",))


def _workers(target: Target, chooser: random.Random) -> list[str]:
    names = sorted(name for name in target.pids() if name.startswith("worker-"))
    if not names:
        raise CannotRun("The stack has no worker that runs.")
    chooser.shuffle(names)
    return names


def _signal_tree(pid: int, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)


def _restart(target: Target, name: str, within_s: float) -> float:
    """Return how many seconds it was away."""
    began = time.monotonic()
    target.supervisor.stop(name, within_s)
    _start(target, name)
    return time.monotonic() - began


def _start(target: Target, name: str) -> None:
    target.supervisor.start(name)
    _await_program(target, name, other_than=0)


def _await_program(target: Target, name: str, *, other_than: int) -> None:
    """Wait until the program runs under another pid and the stack can work."""
    deadline = time.monotonic() + _BACK_WITHIN_S
    while not _is_back(target, name, other_than):
        if time.monotonic() > deadline:
            raise CannotRun(f"{name} did not come back within {_BACK_WITHIN_S:.0f} s.")
        time.sleep(_POLL_S)


def _is_back(target: Target, name: str, other_than: int) -> bool:
    states = {process.name: process for process in target.supervisor.processes()}
    process = states[name]
    return process.state == RUNNING and process.pid != other_than and target.is_ready()


def _refusal(load: Load) -> tuple[float, str]:
    """Submit what cannot be made durable now; return how long the answer took, and what it was."""
    began = time.monotonic()
    try:
        answer = load.users[0].submit("Is anybody there?", key=load.run, max_tokens=16, metadata={})
    except httpx.HTTPError as error:
        said = repr(error)
    else:
        said = f"{answer.status_code}{' with Retry-After' * ('Retry-After' in answer.headers)}"
    took_s = time.monotonic() - began
    time.sleep(max(0.0, _BETWEEN_PROBES_S - took_s))
    return took_s, said


def _worst(refusals: list[tuple[float, str]]) -> Found:
    slowest_s = max(took_s for took_s, _ in refusals)
    answers = sorted({said for _, said in refusals})
    note = f"submits were answered {', '.join(answers)}, the slowest after {slowest_s:.2f} s"
    is_kept = set(answers) <= _REFUSALS and slowest_s <= _REFUSED_WITHIN_S
    wrong = "was not refused with 503 and Retry-After within 1 s"
    return Found((note,), () if is_kept else (Violation("submitting", wrong),))
