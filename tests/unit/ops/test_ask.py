"""What `aether ask` prints of a job: on a terminal while it runs, in a pipe at its end."""

from __future__ import annotations

import pytest
import typer
from msgspec import to_builtins

from core import events
from core.chat import Usage
from core.outcome import AgentReport, JobError, Route
from ops.cli.ask import Printer, ask_command, progress_line, summary

JOB = {
    "id": "job_1",
    "status": "completed",
    "answer": {"text": "Use a queue. "},
    "agents": [{"name": "dev", "status": "completed", "model": "small"}],
    "synthesis": None,
    "degraded": False,
    "cache": {"status": "miss"},
    "usage": {"total_tokens": 43},
    "cost": {"usd": 0.000123},
    "timing_ms": {"first_token": 312, "total": 2140},
    "error": None,
}
SUMMARY = "completed · small · 43 tokens · $0.000123 · first token 312 ms · total 2.1 s · job_1\n"
TEAM = [
    {"name": "dev", "status": "completed", "model": "small"},
    {"name": "luna", "status": "failed", "model": "small"},
]


class FakeApi:
    """Knows one job."""

    def __init__(self, log, **changes):
        self._log = [
            {"sequence": number, "type": event.type, "data": to_builtins(event.data)}
            for number, event in enumerate(log, start=1)
        ]
        self._job = JOB | changes

    def follow(self, job_id):
        return iter(self._log)

    def job(self, job_id):
        return self._job


@pytest.fixture
def show(capsys):
    """Returns a function that prints a job and returns standard output and standard error."""

    def show(*log, is_team=False, is_live=True, **changes):
        printer = Printer(is_team=is_team, is_live=is_live)
        status = printer.follow(FakeApi(log, **changes), "job_1")
        assert status == (JOB | changes)["status"]
        return tuple(capsys.readouterr())

    return show


ROUTE = Route(tier="quick", model="b", reason="easy")


def said(text, agent="dev"):
    return events.answer_delta(agent, text)


def report(status="completed", **fields):
    return AgentReport(name="dev", status=status, tier="quick", model="small", reason="", **fields)


STARTED = events.agent_started("dev", "small", 1)


def test_terminal_shows_the_answer_and_a_summary_when_one_agent_answers(show):
    ended = events.agent_ended(report())

    shown = show(STARTED, said("Use "), said("a queue. "), ended)

    assert shown == ("Use a queue. \n", SUMMARY)


def test_terminal_shows_the_rest_when_the_stream_did_not_bring_all(show):
    assert show(said("Use a"))[0] == "Use a queue.\n"


def test_terminal_starts_the_answer_again_when_its_text_is_void(show):
    again = events.job_retrying("worker_lost", 2)

    stdout, stderr = show(said("Ask so"), again, said("Use "), said("a queue. "))

    assert stdout == "Ask so\nUse a queue. \n"
    assert stderr == f"job: trying again, worker_lost\n{SUMMARY}"


def test_terminal_shows_the_whole_answer_when_what_it_shows_is_another(show):
    stdout, stderr = show(said("Ask someone"))

    assert stdout == "Ask someone\nUse a queue.\n"
    assert stderr.startswith("The whole answer:\n")


def test_terminal_gets_no_control_characters_when_a_text_or_an_error_has_some(show):
    attack = "\x1b]0;owned\x07\x9b2J\rUse"
    error = {"code": "bad", "message": "\x1b[2J\nno"}

    stdout, stderr = show(said(attack), answer={"text": attack}, error=error)

    assert stdout == "]0;owned2JUse\n"
    assert "bad: [2J no" in stderr
    assert stderr.count("\n") == 1


def test_pipe_gets_the_final_answer_alone_when_an_agent_began_again(show):
    again = events.job_retrying("worker_lost", 2)

    shown = show(said("Ask so"), again, said("Use "), said("a queue. "), is_live=False)

    assert shown == ("Use a queue.\n", f"job: trying again, worker_lost\n{SUMMARY}")


def test_nothing_is_printed_but_the_reason_when_there_is_no_answer(show):
    error = {"code": "quorum_not_met", "message": "Too few agents replied."}

    stdout, stderr = show(answer=None, status="failed", error=error, is_live=False)

    assert stdout == ""
    assert stderr.startswith("failed · quorum_not_met: Too few agents replied. · ")


def test_each_agent_has_its_lines_when_a_team_answers(show):
    ended = events.agent_ended(report(), round_number=2)
    synthesis = events.synthesis_started("big", ["dev", "luna"], 1)
    log = (STARTED, ended, synthesis, said("Use a queue.", "synthesis"))

    stdout, stderr = show(*log, is_team=True, agents=TEAM, degraded=True)

    assert stdout == "Use a queue.\n"
    assert stderr.splitlines()[:3] == [
        "dev: started, small",
        "dev (round 2): completed, $0.000000",
        "synthesis of dev, luna: started, big",
    ]
    assert stderr.splitlines()[3].startswith("completed · degraded (luna failed) · 43 tokens")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            events.agent_ended(
                report(usage=Usage(output_tokens=20), cost_micros=120, timing_ms={"total": 1500}),
            ),
            "dev: completed, 1.5 s, 20 tokens, $0.000120",
        ),
        (
            events.agent_ended(report("failed", error=JobError("model_refused", "No."))),
            "dev: failed, $0.000000, model_refused: No.",
        ),
        (
            events.job_retrying("stalled", 1, agent="dev", round_number=2),
            "dev (round 2): trying again, stalled",
        ),
        (
            events.route_selected("dev", ROUTE, fallback_from="a"),
            "dev: b answers in place of a",
        ),
        (events.route_selected("dev", ROUTE), None),
        (events.agent_delta("dev", "Hm"), None),
        (said("Use"), None),
        (events.job_started(1), None),
    ],
)
def test_event_is_one_line_or_none(event, line):
    assert progress_line(event.type, to_builtins(event.data)) == line


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"cache": {"status": "hit"}}, "completed · cached · "),
        ({"agents": TEAM}, "completed · 43 tokens · "),
        ({"degraded": True, "agents": TEAM}, "degraded (luna failed)"),
        ({"degraded": True}, "degraded (not all agents replied)"),
        ({"timing_ms": None}, "$0.000123 · job_1"),
    ],
)
def test_summary_says_how_the_answer_came_about(changes, part):
    assert part in summary(JOB | changes)


def test_summary_of_a_cancelled_job_blames_no_agent():
    error = {"code": "cancelled", "message": "The job was cancelled."}

    line = summary(JOB | {"status": "cancelled", "error": error, "degraded": True, "agents": TEAM})

    assert line.startswith("cancelled · 43 tokens")


@pytest.mark.parametrize("url", ["127.0.0.1:8001", "ftp://host", "http://", "http://host:port"])
def test_url_that_names_no_http_server_is_refused(url):
    app = typer.Typer()
    app.command()(ask_command)

    with pytest.raises(SystemExit) as end:
        app(["Why?", "--url", url])

    assert end.value.code == 2
