"""`aether drill`: faults on purpose, against a running stack or one of the drill's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from ops.client import ClientError
from ops.drills.registry import DRILLS, Drill, chosen, hindrance
from ops.drills.run import Result, run_drill
from ops.drills.table import show_details, show_drills, show_results
from ops.drills.target import Target, find_target
from ops.stack.own import own_stack
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.stack.supervisor import Supervisor
from ops.terminal import PlainConsole, say

drills = typer.Typer(no_args_is_help=True, help="Break things on purpose and see what is lost.")
_console = PlainConsole()
#: Short enough for a drill to see what becomes of a lost worker.
_SHORT_LEASES: Final = {"AETHER_LEASE_S": "3", "AETHER_SWEEP_INTERVAL_S": "1"}


@drills.command("list")
def list_drills() -> None:
    """Show every drill and what it does."""
    show_drills(DRILLS, _console)


@drills.command("run")
def run(
    name: Annotated[str, typer.Argument(help="A drill's name, or all.")],
    state: Annotated[
        Path, typer.Option(help="The stack to harm; one is started where none runs.")
    ] = DEFAULT_STATE,
    jobs: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs to submit.")] = 40,
    seed: Annotated[int, typer.Option(help="Chooses answers and victims; repeatable.")] = 1,
    yes_this_is_staging: Annotated[
        bool, typer.Option("--yes-this-is-staging", help="Others' jobs may be harmed too.")
    ] = False,
) -> None:
    """Run a drill under load; exits 1 when an invariant breaks."""
    try:
        wanted = chosen(name)
        with _target(StateDirectory(state.resolve())) as target:
            _refuse(wanted, target, is_staging=yes_this_is_staging)
            results = _run_all(wanted, target, jobs, seed, is_staging=yes_this_is_staging)
            if not all(result.verdict.has_passed for result in results):
                _console.print(f"Logs: {target.directory.logs}", highlight=False, soft_wrap=True)
                raise typer.Exit(1)
    except (CannotRun, ClientError, httpx.HTTPError) as error:
        say(str(error) or repr(error), err=True)
        raise typer.Exit(1) from error


@contextmanager
def _target(directory: StateDirectory) -> Iterator[Target]:
    if Supervisor(directory.socket).is_up():
        yield find_target(directory, is_own=False)
        return
    # SIGTERM would end the drill and leave its stack behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _console.print(f"No stack runs in {directory.root}; the drill starts its own.")
    with own_stack("--workers", "2", **_SHORT_LEASES) as (stack, _):
        yield find_target(stack.directory, is_own=True)


def _refuse(wanted: tuple[Drill, ...], target: Target, *, is_staging: bool) -> None:
    """Refuse a single drill that would harm others; `all` goes on with those that do not."""
    needs_consent = wanted[0].is_disruptive and not (target.is_own or is_staging)
    if len(wanted) == 1 and needs_consent:
        reason = hindrance(wanted[0], target, is_staging=is_staging)
        raise CannotRun(f"{wanted[0].name} is not run: {reason}.")


def _run_all(
    wanted: tuple[Drill, ...], target: Target, jobs: int, seed: int, *, is_staging: bool
) -> list[Result]:
    results = []
    for drill in wanted:
        reason = hindrance(drill, target, is_staging=is_staging)
        if reason:
            _console.print(f"{drill.name} is skipped: {reason}.", highlight=False, soft_wrap=True)
            continue
        with _console.status(f"{drill.name}: {drill.does} …"):
            results.append(run_drill(drill, target, jobs=jobs, seed=seed))
        show_results(results[-1:], _console)
        show_details(results[-1], _console)
    if len(results) > 1:
        show_results(results, _console)
    return results
