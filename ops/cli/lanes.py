"""What a job's events say so far: a lane for each agent, the synthesis, the answer.

Pure: an event and a time in, the next board out. Showing it is for `ops/cli/lane_screen.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

SYNTHESIS: Final = "synthesis"
ENDED: Final = frozenset({"completed", "failed", "cancelled", "incomplete"})
_TERMINAL_TYPES: Final = frozenset(f"job.{status}" for status in ENDED)
SNAPSHOT: Final = "job.snapshot"


class Lane(Struct, frozen=True):
    """One speaker of a job.

    Attributes:
        status: waiting, running, trying again, or how its reply ended.
        text: of its current round; the synthesis' text is the board's answer.
        started_s: by the clock of whoever folds; None before it began.
    """

    name: str
    status: str = "waiting"
    round: int = 1
    model: str = ""
    text: str = ""
    started_s: float | None = None
    total_ms: int | None = None
    output_tokens: int | None = None
    error: str = ""

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Board(Struct, frozen=True):
    """One job.

    Attributes:
        reason: why these agents answer.
        speaker: whose text the answer is; the synthesis, or one agent.
    """

    status: str = "queued"
    reason: str = ""
    lanes: dict[str, Lane] = {}
    synthesis: Lane | None = None
    answer: str = ""
    speaker: str = ""


def fold(board: Board, event: dict[str, Any], *, now_s: float) -> Board:
    """Return the board after one more event; types it does not know change nothing."""
    if event["type"] in _TERMINAL_TYPES:
        return replace(board, status=event["data"]["status"])
    apply = _FOLDS.get(event["type"])
    return apply(board, event["data"], now_s) if apply else board


def is_last(event: dict[str, Any]) -> bool:
    """Say whether no event follows."""
    is_snapshot = event["type"] == SNAPSHOT
    return event["type"] in _TERMINAL_TYPES or (is_snapshot and event["data"]["status"] in ENDED)


def with_job(board: Board, job: dict[str, Any]) -> Board:
    """Return the board as the job itself says it is; what events told gives way."""
    answer = job["answer"] or {}
    board = _with_lanes(board, map(_of_report, job["agents"]))
    return replace(
        board,
        status=job["status"],
        synthesis=_of_report(job["synthesis"]) if job.get("synthesis") else board.synthesis,
        answer=answer.get("text", ""),
    )


def _of_report(report: dict[str, Any]) -> Lane:
    return Lane(
        report["name"],
        status=report["status"],
        round=report.get("rounds") or 1,
        model=report["model"],
        text=report.get("text") or "",
        **measures(report),
    )


def measures(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a lane that tell what a reply took and why it failed."""
    error = data.get("error") or {}
    return {
        "total_ms": (data.get("timing_ms") or {}).get("total"),
        "output_tokens": (data.get("usage") or {}).get("output_tokens"),
        "error": f"{error['code']}: {error['message']}" if error else "",
    }


def _with_lanes(board: Board, lanes: Iterable[Lane]) -> Board:
    return replace(board, lanes=board.lanes | {lane.name: lane for lane in lanes})


def _lane(board: Board, name: str) -> Lane:
    return board.lanes.get(name) or Lane(name)


def _started(board: Board, data: dict[str, Any], now_s: float) -> Board:
    return replace(board, status="in_progress")


def _route_selected(board: Board, data: dict[str, Any], now_s: float) -> Board:
    if "team" in data:
        chosen = [
            replace(_lane(board, member["agent"]), model=member["model"]) for member in data["team"]
        ]
        return replace(_with_lanes(board, chosen), reason=data["reason"])
    if data.get("agent") == SYNTHESIS and board.synthesis:
        return replace(board, synthesis=replace(board.synthesis, model=data["model"]))
    if data.get("agent") in board.lanes:
        lane = board.lanes[data["agent"]]
        return _with_lanes(board, [replace(lane, model=data["model"])])
    return replace(board, reason=data["reason"])


def _agent_started(board: Board, data: dict[str, Any], now_s: float) -> Board:
    lane = Lane(
        data["agent"],
        status="running",
        round=data.get("round", 1),
        model=data["model"],
        started_s=now_s,
    )
    return _with_lanes(board, [lane])


def _agent_delta(board: Board, data: dict[str, Any], now_s: float) -> Board:
    lane = _lane(board, data["agent"])
    return _with_lanes(board, [replace(lane, status="running", text=lane.text + data["text"])])


def _agent_ended(board: Board, data: dict[str, Any], now_s: float) -> Board:
    lane = replace(_lane(board, data["agent"]), status=data["status"], **measures(data))
    return _with_lanes(board, [lane])


def _synthesis_started(board: Board, data: dict[str, Any], now_s: float) -> Board:
    lane = Lane(SYNTHESIS, status="running", model=data["model"], started_s=now_s)
    return replace(board, synthesis=lane, answer="", speaker=SYNTHESIS)


def _answer_delta(board: Board, data: dict[str, Any], now_s: float) -> Board:
    speaker = data.get("agent", "")
    board = replace(board, answer=board.answer + data["text"], speaker=speaker)
    if speaker == SYNTHESIS and board.synthesis and not board.synthesis.has_ended:
        return replace(board, synthesis=replace(board.synthesis, status="running"))
    if speaker in board.lanes and not board.lanes[speaker].has_ended:
        return _with_lanes(board, [replace(board.lanes[speaker], status="running")])
    return board


def _retrying(board: Board, data: dict[str, Any], now_s: float) -> Board:
    """Take back what does not count any more: one speaker's text, or everyone's."""
    name = data.get("agent")
    if name is None:
        lanes = map(_again, board.lanes.values())
        return replace(_with_lanes(board, lanes), synthesis=None, answer="", speaker="")
    if name == SYNTHESIS:
        synthesis = _again(board.synthesis or Lane(SYNTHESIS))
        return replace(board, synthesis=synthesis, answer="", speaker="")
    return _with_lanes(board, [_again(_lane(board, name))])


def _again(lane: Lane) -> Lane:
    return replace(lane, status="trying again", text="", error="")


def _snapshot(board: Board, data: dict[str, Any], now_s: float) -> Board:
    return with_job(board, data)


_FOLDS: Final[dict[str, Callable[[Board, dict[str, Any], float], Board]]] = {
    "job.started": _started,
    "route.selected": _route_selected,
    "agent.started": _agent_started,
    "agent.delta": _agent_delta,
    "agent.completed": _agent_ended,
    "agent.failed": _agent_ended,
    "synthesis.started": _synthesis_started,
    "answer.delta": _answer_delta,
    "job.retrying": _retrying,
    SNAPSHOT: _snapshot,
}
