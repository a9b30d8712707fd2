"""`aether ask`: a question to several agents, seen in the terminal as they answer."""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import httpx
import typer
from rich.console import Console

from core.personas import agent_names
from ops.cli.lane_screen import LiveLanes, PlainLines, Screen, printable
from ops.client import ApiClient, ClientError, checked

#: Statuses that mean a mistake of who asks, as a wrong option does.
#: How long a cancelled job is waited for, in seconds.
_CANCELLED_WITHIN_S: Final = 15
_MISTAKES: Final = frozenset({400, 413, 422})


def _to_agents(names: str) -> list[str] | None:
    """Return the names asked for; None for auto."""
    if names.strip().lower() == "auto":
        return None
    agents = list(dict.fromkeys(name.strip().lower() for name in names.split(",")))
    unknown = [name for name in agents if name not in agent_names()]
    if unknown:
        raise typer.BadParameter(
            f"There is no agent {unknown[0]!r}; give auto or some of {', '.join(agent_names())}.",
            param_hint="--agents",
        )
    return agents


def _to_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(f"{error}.") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise typer.BadParameter("It has to begin with http:// or https:// and name a host.")
    return url


def ask_command(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    agents: Annotated[
        str, typer.Option(help=f"auto, or names with commas: {', '.join(agent_names())}.")
    ] = "auto",
    strategy: Annotated[
        Literal["parallel", "debate"],
        typer.Option(help="In a debate agents see and revise their replies."),
    ] = "parallel",
    url: Annotated[
        str, typer.Option(callback=_to_url, help="Where the API is.")
    ] = "http://127.0.0.1:8001",
    token: Annotated[
        str | None,
        typer.Option(
            "--token", "--api-token", envvar="AETHER_TOKEN", help="Without, a fresh demo user asks."
        ),
    ] = None,
) -> None:
    """Have several agents answer; exits 0 when the job completed, 1 when not, 2 on a mistake."""
    names = _to_agents(agents)
    try:
        with ApiClient(url, token) as api:
            if not token:
                api.demo_login()
            asked: dict[str, Any] = {"agents": names or "auto", "strategy": strategy}
            accepted = checked(api.submit(question, path="multi-agent", **asked))
            job = _follow(api, accepted["id"])
    except ClientError as error:
        typer.echo(printable(str(error)), err=True)
        raise typer.Exit(2 if error.status in _MISTAKES else 1) from error
    raise typer.Exit(0 if job["status"] == "completed" else 1)


def _follow(api: ApiClient, job_id: str) -> dict[str, Any]:
    """Show the job to its end and return it; Ctrl-C cancels it."""
    screen = _screen()
    try:
        with screen.opened():
            for event in api.follow(job_id):
                screen.show(event)
        job = api.job(job_id)
    except KeyboardInterrupt:
        typer.echo(f"Cancelling {job_id} …", err=True)
        cancelled = api.cancel(job_id)
        if cancelled.status_code != HTTPStatus.CONFLICT:
            checked(cancelled)
        job = api.job(job_id, wait=_CANCELLED_WITHIN_S)
    screen.show_end(job)
    return job


def _screen() -> Screen:
    if sys.stdout.isatty():
        return LiveLanes(Console())
    return PlainLines()
