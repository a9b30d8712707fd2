"""Every drill there is: what it does, on which load, and what it needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ops.drills import actions
from ops.drills.actions import Found
from ops.drills.hostile import face_hostile_upstream
from ops.drills.load import Load
from ops.drills.restoring import restore_elsewhere
from ops.drills.target import Target
from ops.drills.turns import share_fairly
from ops.drills.webhooks import deliver_under_kills
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


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill.

    Attributes:
        act: does it while the load runs, and yields what it saw; the first line of its docstring
            tells the operator what it does.
        script: tells the stub upstream how to answer a job.
        spread_s: the jobs are submitted over so many seconds.
        answering: the share of the jobs that have begun their answer when it is done; with 0,
            all are accepted.
        needs: programs that the stack itself has to run.
        is_disruptive: jobs that are not the drill's are harmed too.
        needs_stub: it means nothing with a real model.
        log_survives: see `invariants.judge`.
    """

    name: str
    act: Callable[[Target, Load, random.Random], Found]
    script: Callable[[random.Random], str] = steady
    spread_s: float = 0.0
    answering: float = 0.5
    needs: tuple[str, ...] = ()
    is_disruptive: bool = True
    needs_stub: bool = False
    log_survives: bool = True

    @property
    def does(self) -> str:
        return (self.act.__doc__ or "").partition("\n")[0].removesuffix(".")


DRILLS: Final = (
    Drill("kill-worker", actions.kill_workers),
    Drill("freeze-and-kill", actions.freeze_and_kill),
    Drill("restart-redis", actions.restart_redis, needs=("redis",)),
    Drill("wipe-redis", actions.wipe_redis, needs=("redis",), log_survives=False),
    Drill("redis-full", actions.fill_redis, mixed, 4.0, answering=0.25, needs=("redis",)),
    Drill("redis-refuses", actions.refuse_writes, mixed, 4.0, answering=0.25, needs=("redis",)),
    Drill("stop-mongo", actions.stop_mongo, mixed, 8.0, answering=0.25, needs=("mongo",)),
    Drill("reset-connections", actions.reset_connections),
    Drill("cancel-storm", actions.cancel_all, endless, answering=0.0, is_disruptive=False),
    Drill("duplicate-delivery", actions.deliver_again, mixed, answering=0.1, is_disruptive=False),
    Drill(
        *("upstream-storm", actions.storm, faulty),
        answering=0.0,
        is_disruptive=False,
        needs_stub=True,
    ),
    Drill(
        *("hostile-upstream", face_hostile_upstream, mixed),
        answering=0.1,
        needs_stub=True,
    ),
    Drill(
        *("fair-share", share_fairly),
        answering=0.0,
        is_disruptive=False,
        needs_stub=True,
    ),
    Drill("rolling-restart", actions.rolling_restart, mixed, 20.0, answering=0.1),
    Drill("ledger", actions.move_money, mixed, answering=0.25, needs=("redis",)),
    Drill("slow-readers", actions.read_slowly, is_disruptive=False),
    Drill("webhooks", deliver_under_kills, mixed, 4.0, is_disruptive=False, needs_stub=True),
    Drill("restore", restore_elsewhere, mixed, 4.0, is_disruptive=False, needs_stub=True),
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
