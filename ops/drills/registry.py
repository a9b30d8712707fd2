"""Every drill there is: what it does, on which load, and what it needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ops.drills import crowds, faults
from ops.drills.faults import Found
from ops.drills.load import Load
from ops.drills.target import Target
from ops.stack.state import CannotRun

#: How the stub upstream fails in the storm; each only at a message's first call.
_STORM: Final = ("once 429 retry_after=1", "once 500", "once 503", "once cut_after=3")


def steady(_: random.Random) -> str:
    """Answers of some seconds, so that a fault finds them under way."""
    return "tokens=40 gap_ms=100"


def mixed(chooser: random.Random) -> str:
    """Answers of half a second to four, so that some have ended when others begin."""
    return f"tokens={chooser.randint(5, 40)} gap_ms=100"


def endless(chooser: random.Random) -> str:
    """Answers that stop before or after their first words and never end by themselves."""
    return chooser.choice(("stall_before", "tokens=5 stall_after=3"))


def faulty(chooser: random.Random) -> str:
    return f"{chooser.choice(_STORM)} tokens=20 gap_ms=20"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill.

    Attributes:
        does: one line for the operator.
        act: does it while the load runs, and returns what it saw.
        script: tells the stub upstream how to answer a job.
        spread_s: the jobs are submitted over so many seconds.
        needs: programs that the stack itself has to run.
        is_disruptive: jobs that are not the drill's are harmed too.
        needs_stub: it means nothing with a real model.
        log_survives: see `invariants.judge`.
    """

    name: str
    does: str
    act: Callable[[Target, Load, random.Random], Found]
    script: Callable[[random.Random], str] = steady
    spread_s: float = 0.0
    needs: tuple[str, ...] = ()
    is_disruptive: bool = True
    needs_stub: bool = False
    log_survives: bool = True


DRILLS: Final = (
    Drill(
        name="kill-worker",
        does="kill -9 two workers, one after the other, in the middle of answers",
        act=faults.kill_workers,
    ),
    Drill(
        name="freeze-and-kill",
        does="freeze a worker beyond its leases, thaw it for a moment, kill it",
        act=faults.freeze_and_kill,
    ),
    Drill(
        name="restart-redis",
        does="stop Redis and start it again on its data",
        act=faults.restart_redis,
        needs=("redis",),
    ),
    Drill(
        name="wipe-redis",
        does="FLUSHALL with jobs in flight; they come back from MongoDB",
        act=faults.wipe_redis,
        needs=("redis",),
        log_survives=False,
    ),
    Drill(
        name="stop-mongo",
        does="MongoDB away for 8 s: submits answer 503 at once, jobs go on",
        act=faults.stop_mongo,
        script=mixed,
        spread_s=8.0,
        needs=("mongo",),
    ),
    Drill(
        name="reset-connections",
        does="CLIENT KILL on every connection to Redis, five times",
        act=faults.reset_connections,
    ),
    Drill(
        name="cancel-storm",
        does="cancel every job at once; none may go on, upstream calls are hung up",
        act=crowds.cancel_all,
        script=endless,
        is_disruptive=False,
    ),
    Drill(
        name="duplicate-delivery",
        does="publish every job's message six times more; each is answered once",
        act=crowds.deliver_again,
        script=mixed,
        is_disruptive=False,
    ),
    Drill(
        name="upstream-storm",
        does="429, 500, 503 and cut streams in every job's first upstream call",
        act=crowds.storm,
        script=faulty,
        is_disruptive=False,
        needs_stub=True,
    ),
    Drill(
        name="rolling-restart",
        does="restart every program one by one while jobs keep coming",
        act=faults.rolling_restart,
        script=mixed,
        spread_s=20.0,
    ),
    Drill(
        name="slow-readers",
        does="a second, slow reader on every stream; the others may not wait for it",
        act=crowds.read_slowly,
        is_disruptive=False,
    ),
)


def chosen(name: str) -> tuple[Drill, ...]:
    """Return the drill of that name, or every one for `all`.

    Raises:
        CannotRun: there is no such drill.
    """
    found = tuple(drill for drill in DRILLS if name in (drill.name, "all"))
    if not found:
        raise CannotRun(f"No drill {name}. There are: {', '.join(drill.name for drill in DRILLS)}.")
    return found


def hindrance(drill: Drill, target: Target, *, is_staging: bool) -> str:
    """Return why the drill is not to be run against this stack; empty when it may."""
    if drill.is_disruptive and not (target.is_own or is_staging):
        return "it harms jobs of others too; say --yes-this-is-staging"
    if drill.needs_stub and not target.stub_url:
        return "it needs the stub upstream (python -m ops.stub.upstream) in place of a model"
    missing = [name for name in drill.needs if name not in target.pids()]
    if missing:
        return f"the stack does not run {' and '.join(missing)} itself"
    return ""
