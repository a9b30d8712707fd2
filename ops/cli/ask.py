"""`aether ask`: one question, with its answer on standard output and its progress on the other."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import httpx
import typer

from core import events
from core.personas import agent_names
from ops.client import ApiClient, ClientError, checked
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory, read_record
from ops.terminal import say, write

#: Where a stack with default settings answers.
_DEFAULT_URL: Final = "http://127.0.0.1:8001"
#: Statuses that mean a mistake in the question or an option.
_MISTAKES: Final = frozenset({400, 413, 422})
_HINTS: Final = {
    "unauthenticated": " Is the token right, and has it not expired?",
    "demo_disabled": " Give a token with --token or in AETHER_TOKEN.",
}
#: How long a cancelled job may take to end, in seconds.
_CANCELLED_WITHIN_S: Final = 15


def _to_agents(names: str) -> list[str] | None:
    """Return the agents' names; None for auto."""
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
    if url and (parsed.scheme not in ("http", "https") or not parsed.host):
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
        str, typer.Option(callback=_to_url, help="Where the API is; by default, the stack's here.")
    ] = "",
    token: Annotated[
        str | None,
        typer.Option(
            "--token", "--api-token", envvar="AETHER_TOKEN", help="Without it, a trial user asks."
        ),
    ] = None,
    state: Annotated[
        Path, typer.Option(help="The stack that is asked when there is no --url.")
    ] = DEFAULT_STATE,
) -> None:
    """Ask one or several agents; exits 0 when the job completed, 1 when not, 2 on a mistake."""
    names = _to_agents(agents)
    asked: dict[str, Any] = {"agents": names or "auto", "strategy": strategy}
    is_team = names is None or len(names) > 1
    printer = Printer(is_team=is_team, is_live=sys.stdout.isatty())
    try:
        found = url or read_record(StateDirectory(state.resolve())).api_url or _DEFAULT_URL
        with ApiClient(found, token) as api:
            if not token:
                api.demo_login()
            job_id = checked(api.submit(question, path="multi-agent", **asked))["id"]
            status = _follow_or_cancel(api, job_id, printer)
    except ClientError as error:
        say(f"{error}{_HINTS.get(error.code, '')}", err=True)
        raise typer.Exit(2 if error.status in _MISTAKES else 1) from error
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(0 if status == "completed" else 1)


def _follow_or_cancel(api: ApiClient, job_id: str, printer: Printer) -> str:
    """Print the job up to its end and return its status; Ctrl-C cancels it."""
    try:
        return printer.follow(api, job_id)
    except KeyboardInterrupt:
        printer.note(f"Cancelling {job_id} …")
        answer = api.cancel(job_id)
        if answer.status_code != HTTPStatus.CONFLICT:
            checked(answer)
        return printer.finish(api.job(job_id, wait=_CANCELLED_WITHIN_S))


class Printer:
    """Prints one job: its answer to standard output, everything else to standard error.

    Args:
        is_team: each agent's start and end gets a line.
        is_live: the answer is printed while it is written, for a terminal. Otherwise it is printed
            once, when it is final: a pipe could not take text back that a retry voids.
    """

    def __init__(self, *, is_team: bool, is_live: bool) -> None:
        self._is_team = is_team
        self._is_live = is_live
        self._log: list[tuple[str, Mapping[str, Any]]] = []
        self._shown = ""
        self._is_mid_line = False

    def follow(self, api: ApiClient, job_id: str) -> str:
        """Print the job up to its end and return its status.

        Raises:
            ClientError: the API refused, or stayed away for a minute.
        """
        for event in api.follow(job_id):
            self._show(event["type"], event["data"])
        return self.finish(api.job(job_id))

    def note(self, line: str) -> None:
        """Print one line to standard error."""
        self._end_line()
        say(line.replace("\n", " "), err=True)

    def finish(self, job: dict[str, Any]) -> str:
        """Print what is missing of the ended job's answer, then its summary; return its status."""
        text = job["answer"]["text"].rstrip() if job["answer"] else ""
        if text and not text.startswith(self._shown.rstrip()):
            self.note("The whole answer:")
            self._shown = ""
        self._write(text[len(self._shown) :])
        self.note(summary(job))
        return str(job["status"])

    def _show(self, type_: str, data: Mapping[str, Any]) -> None:
        self._log.append((type_, data))
        line = progress_line(type_, data)
        if line and (self._is_team or type_ == events.JOB_RETRYING):
            self.note(line)
        if self._is_live and type_ == events.ANSWER_DELTA:
            self._write(data["text"])
            self._shown += data["text"]
        elif self._is_live and type_ == events.JOB_RETRYING:
            self._shown = events.answer_text(self._log)

    def _write(self, text: str) -> None:
        if text:
            write(text, is_whole=not self._is_live)
            self._is_mid_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._is_mid_line:
            self._write("\n")


def progress_line(type_: str, data: Mapping[str, Any]) -> str | None:
    """Return what an event means in one line; None for an event that needs no line."""
    match type_:
        case events.ROUTE_SELECTED if data.get("fallback_from"):
            parts = [f"{data['model']} answers in place of {data['fallback_from']}"]
        case events.AGENT_STARTED:
            parts = ["started", data["model"]]
        case events.AGENT_COMPLETED | events.AGENT_FAILED:
            parts = [data["status"], *_measures(data)]
        case events.SYNTHESIS_STARTED:
            return f"synthesis of {', '.join(data['contributors'])}: started, {data['model']}"
        case events.JOB_RETRYING:
            parts = ["trying again", data["reason"]]
        case _:
            return None
    round_number = data.get("round") or 1
    name = (data.get("agent") or "job") + (f" (round {round_number})" if round_number > 1 else "")
    return f"{name}: {', '.join(parts)}"


def _measures(data: Mapping[str, Any]) -> list[str]:
    total_ms = (data.get("timing_ms") or {}).get("total")
    tokens = (data.get("usage") or {}).get("output_tokens")
    error = data.get("error")
    found = (
        total_ms is not None and f"{total_ms / 1000:.1f} s",
        tokens and f"{tokens} tokens",
        data.get("cost_usd") is not None and f"${data['cost_usd']:.6f}",
        error and f"{error['code']}: {error['message']}",
    )
    return [part for part in found if part]


def summary(job: Mapping[str, Any]) -> str:
    """Return how a job ended and what it took, in one line."""
    timing = job["timing_ms"] or {}
    # A cancelled job needs no reason why its agents did not reply.
    is_cancelled = job["status"] == "cancelled"
    error = None if is_cancelled else job["error"]
    parts = (
        job["status"],
        job["cache"]["status"] in ("hit", "coalesced") and "cached",
        job["degraded"] and not is_cancelled and f"degraded ({_missing(job)})",
        error and f"{error['code']}: {error['message']}",
        len(job["agents"]) == 1 and job["agents"][0]["model"],
        f"{job['usage']['total_tokens']} tokens",
        f"${job['cost']['usd']:.6f}",
        timing.get("first_token") is not None and f"first token {timing['first_token']} ms",
        timing.get("total") is not None and f"total {timing['total'] / 1000:.1f} s",
        job["id"],
    )
    return " · ".join(part for part in parts if part)


def _missing(job: Mapping[str, Any]) -> str:
    reports = [*job["agents"], *([job["synthesis"]] if job["synthesis"] else [])]
    lost = [f"{own['name']} {own['status']}" for own in reports if own["status"] != "completed"]
    return ", ".join(lost) or "not all agents replied"
