"""What the commands show: addresses, the sample job, a stack's programs, dead letters."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from rich.table import Table

from core.timing import iso_time
from ops.cli.ask import Printer
from ops.client import ApiClient, ClientError, checked
from storage.records.alerts import RECORD_SET_ASIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from core.jobs import Job
    from ops.stack.programs import Stack
    from ops.stack.state import Record, StateDirectory
    from ops.stack.supervisor import ProcessStatus
    from storage.records.alerts import Alert
    from storage.records.set_aside import SetAside


_MESSAGE: Final = "Explain in two sentences what a task queue is."
_MAX_TOKENS: Final = 120
#: What a newcomer has to know of the answer above it.
_SMALL_MODEL: Final = """
That was SmolLM2 with 135 million parameters, which ships to show that all parts work: do not
believe what it says. A better one: ./aether model get qwen2.5-coder-0.5b (491 MB), then
./aether model use qwen2.5-coder-0.5b, or a key of Groq's: GROQ_API_KEY=… make run"""


#: What each kind of alert says, and the command that tells more.
_ALERTS: Final = {
    RECORD_SET_ASIDE: (
        "jobs whose outcome could not be stored",
        "; see ./aether dead-letters",
    ),
}


def show_sample(stack: Stack, console: Console) -> None:
    """Have one question answered, as `aether ask` does; a failure is shown, the stack stays up."""
    if not stack.settings.demo_login:
        console.print("No sample job: AETHER_DEMO_LOGIN is off.")
        return
    console.print(f"\n[bold]{_MESSAGE}[/]")
    try:
        with ApiClient(stack.api_url) as api:
            api.demo_login()
            job = checked(api.submit(_MESSAGE, max_tokens=_MAX_TOKENS))
            printer = Printer(is_team=False, is_live=console.is_terminal)
            printer.follow(api, job["id"])
    except ClientError as error:
        console.print("\n[red]The sample job failed.[/]")
        _plain(console, str(error))
    if "llm" in stack.embedded and stack.model is None:
        _plain(console, _SMALL_MODEL)


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
    body = shlex.quote('{"message": "' + _MESSAGE + '"}')
    pick = """python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])'"""
    return (
        f"TOKEN=$(curl -s -X POST {api_url}/api/auth/demo-login | {pick})\n"
        f"curl -s {api_url}/api/ai/v4/chat/optimized -H 'Prefer: wait=30' \\\n"
        f"  -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d {body}"
    )


def show_running(record: Record, directory: StateDirectory, console: Console) -> None:
    """Show that a stack runs already, and where."""
    _plain(console, f"Aether runs already (state in {directory.root}).")
    _plain(console, f"API {record.api_url}")
    if record.flower_url:
        _plain(console, f"Flower {record.flower_url}")
    _plain(console, "Stop it with ./aether stop.")


def show_processes(
    processes: list[ProcessStatus], record: Record, notes: dict[str, str], console: Console
) -> None:
    """Show each program's state; `notes` has more to say of some, by name."""
    table = Table("name", "state", "pid", "up", "note")
    for process in processes:
        up = f"{process.uptime_s // 60} min {process.uptime_s % 60:02} s" if process.pid else ""
        note = ", ".join(filter(None, (process.note, notes.get(process.name))))
        table.add_row(process.name, process.state, str(process.pid or ""), up, note)
    console.print(table)
    _plain(console, f"API {record.api_url}  Flower {record.flower_url or 'off'}")


def show_alerts(alerts: Sequence[Alert], console: Console) -> None:
    """Show what was told in the last day, and where to look."""
    for alert in alerts:
        text, where = _ALERTS.get(alert.kind, (alert.kind, ""))
        _plain(console, f"ALERT {text}: {alert.count}, last {iso_time(alert.last_ms)}{where}")


def show_dead_letters(jobs: list[Job], console: Console) -> None:
    """Show each dead letter's id, attempts and time of submission, never its question."""
    if not jobs:
        console.print("No dead letters.")
    for job in jobs:
        submitted = iso_time(job.spec.created_ms)
        _plain(console, f"{job.id}  {job.attempt} attempts, submitted {submitted}")


def show_set_aside(count: int, rows: Sequence[SetAside], console: Console) -> None:
    """Show which jobs' outcomes could not be stored, when and why, never what they held."""
    if count:
        _plain(console, f"\n{count} jobs whose outcome could not be stored (set aside):")
    for row in rows:
        _plain(console, f"{row.job_id}  {row.error}, {iso_time(row.at_ms)}, user {row.user_id}")


def _plain(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
