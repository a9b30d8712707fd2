"""How a job looks while it runs: live lanes on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ops.cli.lanes import Board, Lane, fold, measures, with_job

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: Final = {
    "running": "cyan",
    "trying again": "yellow",
    "completed": "green",
    "incomplete": "yellow",
    "failed": "red",
    "cancelled": "red",
}
_MARKS: Final = {"waiting": "·", "running": "▸", "trying again": "↻", "completed": "✓"}
_LINES_PER_LANE: Final = 5
_REFRESHES_PER_S: Final = 8
_STEP_CHARS: Final = 2_000
#: Control characters but line feed and tab: a model's text must not steer the terminal.
_CONTROLS: Final = dict.fromkeys(
    set(range(0x20)) - {ord("\n"), ord("\t")} | set(range(0x7F, 0xA0)), None
)


class Screen(Protocol):
    """Shows a job's events as they come, and in the end the job."""

    def opened(self) -> AbstractContextManager[object]:
        """Return what has to be entered while events are shown."""
        ...

    def show(self, event: dict[str, Any]) -> None: ...

    def show_end(self, job: dict[str, Any]) -> None: ...


class LiveLanes:
    """A terminal: a lane for each agent and the answer below, redrawn as events come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._board = Board()

    def opened(self) -> AbstractContextManager[object]:
        return Live(
            console=self._console,
            get_renderable=lambda: draw(self._board, self._console, now_s=time.monotonic()),
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
        )

    def show(self, event: dict[str, Any]) -> None:
        self._board = fold(self._board, event, now_s=time.monotonic())

    def show_end(self, job: dict[str, Any]) -> None:
        board = with_job(self._board, job)
        for lane in _speakers(board):
            self._console.print(_heading(lane, now_s=0))
        if board.answer:
            self._console.print(Text(f"\n{printable(board.answer).strip()}\n"))
        self._console.print(Text(footer(job)))


class PlainLines:
    """A pipe: the answer alone on standard output, once it is final; the rest on the other."""

    def opened(self) -> AbstractContextManager[object]:
        return nullcontext()

    def show(self, event: dict[str, Any]) -> None:
        line = progress_line(event)
        if line is not None:
            typer.echo(printable(line), err=True)

    def show_end(self, job: dict[str, Any]) -> None:
        if job["answer"]:
            typer.echo(job["answer"]["text"].rstrip())
        typer.echo(printable(footer(job)), err=True)


def draw(board: Board, console: Console, *, now_s: float) -> Group:
    """Return the board within the size of the terminal: every text is shown from its end."""
    answer_lines = console.height // 2 if board.answer else 0
    speakers = _speakers(board)
    free_lines = console.height - answer_lines - len(speakers) - 3
    lane_lines = max(0, min(_LINES_PER_LANE, free_lines // max(1, len(speakers))))
    parts = [Text(printable(board.reason) or "waiting for a worker", style="dim")]
    for lane in speakers:
        parts.append(_heading(lane, now_s=now_s))
        for line in last_lines(lane.text, console, console.width - 2, lane_lines):
            line.stylize("dim")
            parts.append(Text("  ") + line)
    parts.append(Text())
    parts += last_lines(board.answer, console, console.width, answer_lines - 1)
    return Group(*parts)


def _speakers(board: Board) -> list[Lane]:
    return [*board.lanes.values(), *([board.synthesis] if board.synthesis else [])]


def _heading(lane: Lane, *, now_s: float) -> Text:
    style = _STYLES.get(lane.status, "dim")
    heading = Text(no_wrap=True, overflow="ellipsis")
    heading.append(f"{_MARKS.get(lane.status, '✗')} {printable(lane.name)} ", style=f"bold {style}")
    heading.append(" · ".join(_about(lane, now_s)), style=style)
    return heading


def _about(lane: Lane, now_s: float) -> list[str]:
    parts = [lane.status]
    if lane.round > 1:
        parts.append(f"round {lane.round}")
    if lane.model:
        parts.append(printable(lane.model))
    if lane.started_s is not None and not lane.has_ended:
        parts.append(f"{now_s - lane.started_s:.1f} s")
    return parts + [printable(part).replace("\n", " ") for part in _taken(lane)]


def _taken(lane: Lane) -> list[str]:
    seconds = f"{lane.total_ms / 1000:.1f} s" if lane.total_ms is not None else ""
    tokens = f"{lane.output_tokens} tokens" if lane.output_tokens else ""
    return [part for part in (seconds, tokens, lane.error) if part]


def last_lines(text: str, console: Console, width: int, count: int) -> list[Text]:
    """Return the last lines of a text when it is wrapped to a width in terminal cells."""
    if count <= 0 or width <= 0 or not text:
        return []
    # Only an end of the text is wrapped, and it begins where it did for the text's last pieces:
    # its lines would flow differently with every piece otherwise.
    begin = max(0, len(text) - width * count) // _STEP_CHARS * _STEP_CHARS
    lines = Text(printable(text[begin:])).wrap(console, width)
    return list(lines[-count:])


def printable(text: str) -> str:
    """Return the text without what a terminal would obey instead of show."""
    return text.translate(_CONTROLS)


def progress_line(event: dict[str, Any]) -> str | None:
    """Return what an event means in one line; None for text and for what says nothing new."""
    data = event["data"]
    match event["type"]:
        case "route.selected" if "team" in data:
            return f"{data['reason']}: {', '.join(map(_member, data['team']))}"
        case "route.selected":
            return data["reason"] if "agent" not in data else _said(data, data["reason"])
        case "agent.started":
            return _said(data, f"started, {data['model']}")
        case "agent.completed" | "agent.failed":
            return _said(data, ", ".join([data["status"], *_taken(Lane("", **measures(data)))]))
        case "synthesis.started":
            return f"synthesis of {', '.join(data['contributors'])}, {data['model']}"
        case "job.retrying":
            return _said(data, f"trying again, {data['reason']}")
    return None


def _member(member: dict[str, Any]) -> str:
    return f"{member['agent']} ({member['reason']})"


def _said(data: dict[str, Any], what: str) -> str:
    who = data.get("agent", "job")
    return (
        f"{who} (round {data['round']}): {what}" if data.get("round", 1) > 1 else f"{who}: {what}"
    )


def footer(job: dict[str, Any]) -> str:
    """Return how a job ended and what it took, in one line."""
    parts = [job["status"]]
    # A cancelled job needs no reason why its agents did not reply.
    if job["degraded"] and job["status"] != "cancelled":
        parts.append(f"degraded ({_missing(job)})")
    if job["error"] and job["status"] != "cancelled":
        parts.append(f"{job['error']['code']}: {job['error']['message']}")
    parts += [f"{job['usage']['total_tokens']} tokens", f"${job['cost']['usd']:.6f}"]
    total_ms = (job["timing_ms"] or {}).get("total")
    if total_ms is not None:
        parts.append(f"{total_ms / 1000:.1f} s")
    return " · ".join([*parts, job["id"]])


def _missing(job: dict[str, Any]) -> str:
    reports = [*job["agents"], *([job["synthesis"]] if job.get("synthesis") else [])]
    lost = [f"{own['name']} {own['status']}" for own in reports if own["status"] != "completed"]
    return ", ".join(lost) or "not all agents replied"
