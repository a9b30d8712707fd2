"""The `aether` command: the stack's own commands, and those of the other modules here."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from core.errors import StoreUnavailable
from core.settings import Settings
from ops.cli import report
from ops.cli.ask import ask_command
from ops.cli.backup import backup_command, restore_command
from ops.cli.cache import cache_app
from ops.cli.dead_letters import DeadLetters
from ops.cli.doctor import doctor_command
from ops.cli.drills import drills
from ops.cli.ledger import ledger_app
from ops.cli.loops import loop_notes
from ops.cli.models import model_app
from ops.cli.queues import queues_command
from ops.cli.routing import routing_app
from ops.cli.secrets import secrets_app
from ops.cli.upgrade import db_app, drain_command, is_draining, resume_command
from ops.cli.users import users_app
from ops.stack import up
from ops.stack.config import program_file, write_program
from ops.stack.leftovers import end_leftovers, stack_processes
from ops.stack.logs import follow, tail
from ops.stack.programs import DRAIN_S, Stack, worker
from ops.stack.resolve import resolve
from ops.stack.running import checked_settings, command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory, read_record
from ops.stack.supervisor import Supervisor
from ops.terminal import PlainConsole, say, write
from storage.connections import close_all, mongo_database
from storage.records.alerts import Alert, Alerts

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(drills, name="drill")
app.add_typer(cache_app, name="cache")
app.add_typer(routing_app, name="routing")
app.add_typer(db_app, name="db")
app.add_typer(model_app, name="model")
app.add_typer(users_app, name="users")
app.add_typer(ledger_app, name="ledger")
app.add_typer(secrets_app, name="secrets")
app.command("ask")(ask_command)
app.command("backup")(backup_command)
app.command("doctor")(doctor_command)
app.command("drain")(drain_command)
app.command("queues")(queues_command)
app.command("restore")(restore_command)
app.command("resume")(resume_command)
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
_STOPPED_WITHIN_S: Final = DRAIN_S + 120.0
_WORKER = re.compile(r"worker-(\d+)")
_console = PlainConsole()


@app.command("up")
def up_command(
    state: State = DEFAULT_STATE,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    sample: Annotated[bool, typer.Option(help="Submit one chat job when ready.")] = True,
    flower: Annotated[bool, typer.Option(help="Run Flower, the page on queues.")] = True,
) -> None:
    """Start the stack and stay in the foreground until Ctrl-C; exits 0 when one runs already."""
    directory = StateDirectory(state.resolve())
    with _exit_on_cannot_run():
        directory.create()
        with directory.held() as is_mine:
            if not is_mine or Supervisor(directory.socket).is_up():
                report.show_running(read_record(directory), directory, _console)
                return
            left = end_leftovers(directory)
            if left:
                _console.print(f"Ended {left} processes that an earlier stack had left behind.")
            stack = resolve(checked_settings(), directory, workers=workers, flower=flower)
            raise typer.Exit(up.run(stack, _console, lambda: _welcome(stack, sample=sample)))


@app.command()
def status(state: State = DEFAULT_STATE) -> None:
    """Show the running stack's programs and threads that do not turn; exits 1 when none runs."""
    directory = StateDirectory(state.resolve())
    with _exit_on_cannot_run():
        processes, record = Supervisor(directory.socket).processes(), read_record(directory)
        settings = _settings_of(directory)
        notes = loop_notes(settings, record.api_url)
        report.show_processes(processes, record, notes, _console)
        report.show_alerts(_latest_alerts(settings), _console)
        if settings and is_draining(settings):
            say("DRAINING: no new jobs are taken; `aether resume` ends that.")


@app.command()
def stop(state: State = DEFAULT_STATE) -> None:
    """Stop the running stack and wait until its last process is gone."""
    directory = StateDirectory(state.resolve())
    with _exit_on_cannot_run(), _console.status("Stopping; workers end their jobs …"):
        Supervisor(directory.socket).shut_down()
        deadline = time.monotonic() + _STOPPED_WITHIN_S
        while stack_processes(directory) and time.monotonic() < deadline:
            time.sleep(0.2)
        end_leftovers(directory)
    _console.print("Stopped.")


@app.command()
def scale(
    what: Annotated[Literal["workers"], typer.Argument(help="Which programs.")],
    count: Annotated[int, typer.Argument(min=1, max=64)],
    state: State = DEFAULT_STATE,
) -> None:
    """Add workers to the running stack, or remove some, which finish their jobs first."""
    directory = StateDirectory(state.resolve())
    supervisor = Supervisor(directory.socket)
    with _exit_on_cannot_run():
        present = _worker_numbers(supervisor)
        sends_events = bool(read_record(directory).flower_url)
        for number in sorted(set(range(1, count + 1)) - present):
            write_program(directory, worker(number, sends_events=sends_events))
            supervisor.add(f"worker-{number}")
            _console.print(f"Added worker-{number}.")
        for number in sorted(present - set(range(1, count + 1)), reverse=True):
            name = f"worker-{number}"
            with _console.status(f"Draining {name} …"):
                supervisor.drain(name, DRAIN_S + 10)
            program_file(directory, name).unlink(missing_ok=True)
            _console.print(f"Removed {name}.")


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A program's name, as `aether status` shows it.")],
    state: State = DEFAULT_STATE,
    lines: Annotated[int, typer.Option(min=0, help="How many lines to begin with.")] = 50,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show the end of one program's log."""
    directory = StateDirectory(state.resolve())
    path = directory.log_of(name)
    with _exit_on_cannot_run():
        if path.parent != directory.logs or not path.exists():
            known = ", ".join(sorted(found.stem for found in directory.logs.glob("*.log")))
            raise CannotRun(f"No log of {name}. There are: {known or 'none'}.")
    for line in tail(path, lines):
        say(line)
    if follow_it:
        for text in follow(path):
            write(text)


@app.command("dead-letters")
def dead_letters(
    state: State = DEFAULT_STATE,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
) -> None:
    """List the jobs whose workers died too often, and those whose outcome could not be stored."""
    with _exit_on_cannot_run():
        settings = command_settings(StateDirectory(state.resolve()))
        letters = DeadLetters(settings)
        report.show_dead_letters(letters.list(limit=limit), _console)
        report.show_set_aside(*letters.set_aside(limit=limit), _console)


@app.command()
def requeue(
    job_id: Annotated[str, typer.Argument(help="A dead letter, as `dead-letters` lists it.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Submit a dead letter's request again, as a new job of its user."""
    with _exit_on_cannot_run():
        settings = command_settings(StateDirectory(state.resolve()))
        _console.print(f"Requeued as {DeadLetters(settings).requeue(job_id)}.")


def _welcome(stack: Stack, *, sample: bool) -> None:
    if sample:
        report.show_sample(stack, _console)
    report.show_addresses(stack, _console)


@contextmanager
def _exit_on_cannot_run() -> Iterator[None]:
    """Print a CannotRun, which the operator can act on, to standard error and exit with 1."""
    try:
        yield
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error


def _settings_of(directory: StateDirectory) -> Settings | None:
    """Return settings that reach the stack; None where status has to do without them."""
    try:
        return command_settings(directory)
    except CannotRun:
        return None


def _latest_alerts(settings: Settings | None) -> list[Alert]:
    """Return the alerts of the last day; none where MongoDB does not answer."""
    if settings is None:
        return []
    database = mongo_database(settings, selection_timeout_s=2.0)
    try:
        return Alerts(database).since(timedelta(days=1))
    except StoreUnavailable:
        return []
    finally:
        close_all(database)


def _worker_numbers(supervisor: Supervisor) -> set[int]:
    names = (_WORKER.fullmatch(process.name) for process in supervisor.processes())
    return {int(match[1]) for match in names if match}
