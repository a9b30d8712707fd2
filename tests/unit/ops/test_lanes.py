"""What a job's events say, event by event."""

from __future__ import annotations

from functools import reduce

import pytest

from ops.cli.lanes import Board, fold, is_last, with_job

USAGE = {"output_tokens": 12}
TEAM = {
    "team": [
        {"agent": "dev", "tier": "standard", "model": "m1", "reason": "the message names: api"},
        {"agent": "luna", "tier": "standard", "model": "m1", "reason": "the message names: ui"},
    ],
    "reason": "the question has parts for dev and luna",
}


def after(*events, board=None):
    """Fold (type, data) pairs, one second apart."""
    numbered = enumerate(events, start=1)
    return reduce(
        lambda board, event: fold(
            board, {"sequence": event[0], "type": event[1][0], "data": event[1][1]}, now_s=event[0]
        ),
        numbered,
        board or Board(),
    )


def started(agent, **data):
    return ("agent.started", {"agent": agent, "round": 1, "model": "m1", "attempt": 1} | data)


def said(agent, text, round=1):
    return ("agent.delta", {"agent": agent, "round": round, "text": text})


def ended(agent, status="completed", error=None, **data):
    own = {"usage": USAGE, "cost_usd": 0.1, "timing_ms": {"total": 900}, "error": error}
    kind = "agent.completed" if error is None else "agent.failed"
    return (kind, {"agent": agent, "round": 1, "status": status} | own | data)


def answered(text, agent="synthesis"):
    return ("answer.delta", {"agent": agent, "text": text})


def report(name, **fields):
    own = {"status": "completed", "model": "m1", "text": "whole", "rounds": 1, "error": None}
    return {"name": name, "usage": USAGE, "timing_ms": {"total": 900}} | own | fields


SYNTHESIS_STARTED = ("synthesis.started", {"model": "m2", "contributors": ["dev", "luna"]})


def test_every_chosen_agent_has_a_lane_that_waits():
    board = after(("job.started", {}), ("route.selected", TEAM))

    assert (board.status, board.reason) == ("in_progress", TEAM["reason"])
    assert [(lane.name, lane.status) for lane in board.lanes.values()] == [
        ("dev", "waiting"),
        ("luna", "waiting"),
    ]


def test_texts_of_agents_that_speak_at_once_stay_apart():
    board = after(
        started("dev"), started("luna"), said("dev", "a"), said("luna", "x"), said("dev", "b")
    )

    assert {name: lane.text for name, lane in board.lanes.items()} == {"dev": "ab", "luna": "x"}
    assert board.lanes["luna"].started_s == 2


def test_lane_tells_what_its_reply_took():
    lane = after(started("dev"), said("dev", "a"), ended("dev")).lanes["dev"]

    assert (lane.status, lane.total_ms, lane.output_tokens) == ("completed", 900, 12)
    assert (lane.text, lane.model, lane.error) == ("a", "m1", "")


def test_lane_tells_why_its_agent_failed():
    error = {"code": "model_refused", "message": "No."}

    lane = after(started("dev"), ended("dev", "failed", error)).lanes["dev"]

    assert (lane.status, lane.error) == ("failed", "model_refused: No.")


def test_next_round_begins_with_an_empty_lane():
    board = after(
        started("dev"), said("dev", "first"), ended("dev"),
        started("dev", round=2), said("dev", "second", round=2),
    )  # fmt: skip

    lane = board.lanes["dev"]
    assert (lane.round, lane.status, lane.text) == (2, "running", "second")
    assert lane.total_ms is None


def test_only_the_text_of_the_agent_that_tries_again_is_taken_back():
    board = after(
        started("dev"), started("luna"), said("dev", "a"), said("luna", "x"), answered("so far"),
        ("job.retrying", {"agent": "dev", "round": 1, "reason": "worker_lost"}),
    )  # fmt: skip

    assert (board.lanes["dev"].text, board.lanes["dev"].status) == ("", "trying again")
    assert (board.lanes["luna"].text, board.answer) == ("x", "so far")


def test_only_the_answer_is_taken_back_when_the_synthesis_tries_again():
    board = after(
        said("dev", "a"), SYNTHESIS_STARTED, answered("half"),
        ("job.retrying", {"agent": "synthesis", "reason": "worker_lost"}),
    )  # fmt: skip

    assert (board.answer, board.lanes["dev"].text) == ("", "a")
    assert board.synthesis.status == "trying again"
    again = after(answered("whole"), board=board)
    assert (again.answer, again.synthesis.status) == ("whole", "running")


def test_everything_is_taken_back_when_the_whole_job_tries_again():
    board = after(
        started("dev"), said("dev", "a"), SYNTHESIS_STARTED, answered("half"),
        ("job.retrying", {"attempt": 2, "reason": "worker_lost", "superseded_through": 4}),
    )  # fmt: skip

    assert (board.answer, board.lanes["dev"].text, board.synthesis) == ("", "", None)


def test_answer_is_of_one_agent_when_the_synthesis_failed():
    board = after(
        started("dev"), ended("dev"), SYNTHESIS_STARTED, answered("half"),
        ("job.retrying", {"agent": "synthesis", "reason": "synthesis_failed"}),
        answered("the reply of dev", agent="dev"),
    )  # fmt: skip

    assert (board.answer, board.speaker) == ("the reply of dev", "dev")
    assert board.lanes["dev"].status == "completed"


def test_one_agent_alone_streams_the_answer():
    board = after(
        ("route.selected", {"tier": "quick", "model": "m1", "reason": "one agent is enough"}),
        ("agent.started", {"agent": "sage", "model": "m1"}),
        answered("Yes", agent="sage"),
        ("job.retrying", {"attempt": 1, "reason": "model_unavailable"}),
        answered("No", agent="sage"),
    )

    assert (board.answer, board.reason) == ("No", "one agent is enough")
    assert board.lanes["sage"].status == "running"


@pytest.mark.parametrize("speaker", ["dev", "synthesis"])
def test_lane_names_the_model_that_answers_in_place_of_another(speaker):
    fallback = {"agent": speaker, "round": 1, "tier": "deep", "model": "m9", "reason": "fallback"}

    board = after(started("dev"), SYNTHESIS_STARTED, ("route.selected", fallback))

    lane = board.synthesis if speaker == "synthesis" else board.lanes[speaker]
    assert lane.model == "m9"
    assert board.reason == ""


def test_event_of_an_unknown_type_changes_nothing():
    board = after(started("dev"))

    assert after(("agent.sings", {"agent": "dev"}), board=board) == board


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "incomplete"])
def test_terminal_event_is_the_last_and_tells_the_status(status):
    event = (f"job.{status}", {"status": status})

    assert after(event).status == status
    assert is_last({"type": event[0], "data": event[1]})


def test_snapshot_is_the_last_event_only_when_its_job_has_ended():
    assert is_last({"type": "job.snapshot", "data": {"status": "completed"}})
    assert not is_last({"type": "job.snapshot", "data": {"status": "in_progress"}})
    assert not is_last({"type": "agent.completed", "data": {"status": "completed"}})


def test_job_itself_has_the_last_word():
    job = {
        "status": "completed",
        "answer": {"text": "whole answer"},
        "agents": [report("dev"), report("luna", status="failed")],
        "synthesis": report("synthesis"),
    }
    told = after(started("dev"), said("dev", "wh"), answered("who"))

    board = with_job(told, job)

    assert (board.status, board.answer) == ("completed", "whole answer")
    assert board.lanes["dev"].text == "whole"
    assert board.lanes["luna"].status == "failed"
    assert board.synthesis.status == "completed"
    assert after(("job.snapshot", job), board=told) == board
