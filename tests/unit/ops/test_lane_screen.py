"""How a job looks while it runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ops.cli.lane_screen import LiveLanes, PlainLines, draw, footer, last_lines, progress_line
from ops.cli.lanes import Board, Lane

REPORT = {
    "name": "dev",
    "status": "completed",
    "model": "m1",
    "text": "mine",
    "rounds": 1,
    "usage": {"output_tokens": 12},
    "timing_ms": {"total": 900},
    "error": None,
}
JOB = {
    "id": "job_1",
    "status": "completed",
    "degraded": False,
    "answer": {"text": "The answer.\n"},
    "agents": [REPORT],
    "synthesis": None,
    "usage": {"total_tokens": 1234},
    "cost": {"usd": 0.000123},
    "timing_ms": {"total": 3210},
    "error": None,
}


def console(width=40, height=24):
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )


def drawn(board, width=40, height=24):
    target = console(width, height)
    target.print(draw(board, target, now_s=10))
    return target.file.getvalue().splitlines()


def test_each_lane_shows_who_with_what_how_long_and_the_end_of_its_text():
    lanes = {
        "dev": Lane("dev", status="running", model="m1", text="first\nsecond", started_s=8.5),
        "luna": Lane("luna", status="failed", error="model_refused: No."),
    }

    lines = drawn(Board(reason="parts for both", lanes=lanes))

    assert [line.rstrip() for line in lines] == [
        "parts for both",
        "▸ dev running · m1 · 1.5 s",
        "  first",
        "  second",
        "✗ luna failed · model_refused: No.",
        "",
    ]


@pytest.mark.parametrize("height", [6, 12, 24])
def test_board_never_outgrows_the_terminal(height):
    text = "many words " * 500
    lanes = {name: Lane(name, status="running", text=text) for name in ("dev", "luna", "sage")}

    lines = drawn(Board(lanes=lanes, answer=text), height=height)

    assert len(lines) <= max(height, 8)
    assert {"dev", "luna", "sage"} <= {line.split()[1] for line in lines if line.startswith("▸")}


def test_lanes_and_answer_are_drawn_within_the_width_when_characters_are_wide():
    text = "你好" * 300
    target = console(20)

    lines = last_lines(text, target, 20, 3)

    assert len(lines) == 3
    assert all(line.cell_len <= 20 for line in lines)


def test_lines_do_not_flow_differently_when_text_is_added():
    text = "some words of any length " * 100

    before = last_lines(text, console(), 40, 10)
    after = last_lines(f"{text}\nmore", console(), 40, 11)

    assert after[:-1] == before


def test_text_of_a_model_cannot_steer_the_terminal():
    attack = "\x1b]0;owned\x07 \x1b[2J\x9b2J \rgone [bold]kept[/]"
    lane = Lane("dev", status="running", text=attack, error="\x1b[31m")

    shown = "\n".join(drawn(Board(lanes={"dev": lane}, answer=attack), width=80))

    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(shown)
    assert "[bold]kept[/]" in shown


def test_end_on_a_terminal_is_lanes_answer_and_footer():
    target = console(80)
    screen = LiveLanes(target)

    with screen.opened():
        screen.show({"sequence": 1, "type": "job.started", "data": {}})
    screen.show_end(JOB)

    shown = target.file.getvalue()
    end = shown[shown.index("✓ dev") :]
    assert [line.strip() for line in end.splitlines() if line.strip()] == [
        "✓ dev completed · m1 · 0.9 s · 12 tokens",
        "The answer.",
        "completed · 1234 tokens · $0.000123 · 3.2 s · job_1",
    ]


def test_pipe_gets_the_answer_alone_and_progress_goes_beside_it(capsys):
    screen = PlainLines()

    with screen.opened():
        screen.show({"type": "answer.delta", "data": {"agent": "dev", "text": "void"}})
        screen.show({"type": "job.retrying", "data": {"reason": "worker_lost"}})
    screen.show_end(JOB)

    output, progress = capsys.readouterr()
    assert output == "The answer.\n"
    assert progress.splitlines() == [
        "job: trying again, worker_lost",
        "completed · 1234 tokens · $0.000123 · 3.2 s · job_1",
    ]


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        (
            "route.selected",
            {"team": [{"agent": "dev", "reason": "names: api"}], "reason": "it splits"},
            "it splits: dev (names: api)",
        ),
        ("route.selected", {"reason": "one is enough"}, "one is enough"),
        (
            "route.selected",
            {"agent": "dev", "round": 1, "reason": "fallback: busy"},
            "dev: fallback: busy",
        ),
        (
            "agent.started",
            {"agent": "dev", "round": 2, "model": "m1"},
            "dev (round 2): started, m1",
        ),
        (
            "agent.completed",
            {
                "agent": "dev",
                "status": "completed",
                "usage": {"output_tokens": 12},
                "timing_ms": {"total": 900},
                "error": None,
            },
            "dev: completed, 0.9 s, 12 tokens",
        ),
        (
            "agent.failed",
            {"agent": "dev", "status": "failed", "error": {"code": "c", "message": "No."}},
            "dev: failed, c: No.",
        ),
        (
            "synthesis.started",
            {"model": "m2", "contributors": ["dev", "luna"]},
            "synthesis of dev, luna, m2",
        ),
        ("agent.delta", {"agent": "dev", "text": "a"}, None),
        ("job.completed", {"status": "completed"}, None),
    ],
)
def test_progress_is_one_line_for_what_is_news(kind, data, line):
    assert progress_line({"type": kind, "data": data}) == line


def test_footer_names_who_is_missing_when_the_job_is_degraded():
    lost = REPORT | {"name": "luna", "status": "failed"}
    job = JOB | {"degraded": True, "agents": [REPORT, lost]}

    assert footer(job).startswith("completed · degraded (luna failed) · ")


def test_footer_says_why_the_job_failed():
    job = JOB | {"status": "failed", "error": {"code": "quorum_not_met", "message": "0 of 2."}}

    assert footer(job).startswith("failed · quorum_not_met: 0 of 2. · ")


def test_footer_does_not_explain_a_cancel():
    lost = REPORT | {"status": "cancelled"}
    error = {"code": "cancelled", "message": "The job was cancelled."}
    job = JOB | {"status": "cancelled", "degraded": True, "agents": [lost], "error": error}

    assert footer(job).startswith("cancelled · 1234 tokens")
