"""What the commands show: addresses, the sample job, a stack's programs, the ends of logs."""

from __future__ import annotations

import shlex
from collections import deque
from typing import TYPE_CHECKING

from rich.table import Table

from core.timing import iso_time
from ops.sample import MESSAGE, SampleFailed, SampleResult, run_sample

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from core.jobs import Job
    from ops.stack.programs import Stack
    from ops.stack.state import Record, StateDirectory
    from ops.stack.supervisor import ProcessStatus


def show_sample(stack: Stack, console: Console) -> None:
    """Run the sample job and show it; a failure is shown too, since the stack itself stands."""
    if not stack.settings.demo_login:
        console.print("No sample job: AETHER_DEMO_LOGIN is off.")
        return
    console.print(f"\n[bold]{MESSAGE}[/]")
    try:
        result = run_sample(stack.api_url, lambda text: _plain(console, text, end=""))
    except SampleFailed as error:
        console.print("\n[red]The sample job failed.[/]")
        _plain(console, str(error))
    else:
        _show_result(result, console)


def _show_result(result: SampleResult, console: Console) -> None:
    console.print()
    if result.error:
        _plain(console, f"{result.status}: {result.error}")
    _plain(
        console,
        f"{result.model} · {result.total_tokens} tokens · ${result.cost_usd:.6f} · "
        f"first token {_ms(result.first_token_ms)} · total {_ms(result.total_ms)}",
    )


def show_addresses(stack: Stack, console: Console) -> None:
    """Show where everything is and a request to try."""
    directory = stack.directory
    rows = [("API", stack.api_url), ("API docs", f"{stack.api_url}/openapi.json")]
    if stack.flower:
        where = f"password: flower_password in {directory.secrets}"
        rows += [("Flower", f"{stack.flower_url}  user {stack.settings.flower_user}"), ("", where)]
    rows += [
        ("Logs", f"{directory.logs}/NAME.log, or ./aether logs NAME"),
        ("Stop", "Ctrl-C here, or ./aether stop"),
    ]
    console.print()
    for label, value in rows:
        _plain(console, f"{label:<9} {value}")
    _plain(console, "\n" + curl_example(stack.api_url))


def curl_example(api_url: str) -> str:
    """Return shell lines that log in as a demo user and have one question answered."""
    body = shlex.quote('{"message": "' + MESSAGE + '"}')
    pick = """python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])'"""
    return (
        f"TOKEN=$(curl -s -X POST {api_url}/api/auth/demo-login | {pick})\n"
        f"curl -s {api_url}/api/ai/v4/chat/optimized -H 'Prefer: wait=30' \\\n"
        f"  -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d {body}"
    )


def show_running(record: Record, directory: StateDirectory, console: Console) -> None:
    """Say that a stack runs already, and where."""
    _plain(console, f"Aether runs already (state in {directory.root}).")
    _plain(console, f"API {record.api_url}")
    if record.flower_url:
        _plain(console, f"Flower {record.flower_url}")
    _plain(console, "Stop it with ./aether stop.")


def show_processes(processes: list[ProcessStatus], record: Record, console: Console) -> None:
    table = Table("name", "state", "pid", "up", "note")
    for process in processes:
        up = f"{process.uptime_s // 60} min {process.uptime_s % 60:02} s" if process.pid else ""
        table.add_row(process.name, process.state, str(process.pid or ""), up, process.note)
    console.print(table)
    _plain(console, f"API {record.api_url}  Flower {record.flower_url or 'off'}")


def tail(path: Path, lines: int) -> list[str]:
    """Return a file's last lines, none if it does not exist."""
    try:
        with path.open(errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


def _plain(console: Console, text: str, end: str = "\n") -> None:
    console.print(text, end=end, markup=False, highlight=False, soft_wrap=True)


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"


def show_dead_letters(jobs: list[Job], console: Console) -> None:
    """Show which they are, how often they were tried and when; never what was asked."""
    if not jobs:
        console.print("No dead letters.")
    for job in jobs:
        submitted = iso_time(job.spec.created_ms)
        _plain(console, f"{job.id}  {job.attempt} attempts, submitted {submitted}")
