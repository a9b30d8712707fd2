"""`aether ask`, as a person and as a script would run it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from ops.stack.state import ROOT
from tests.services import wait_until

pytestmark = pytest.mark.e2e

SPLITS = "Build a secure REST API in Flask with a usable UI and deploy it"


def command(stack, *words):
    return [sys.executable, "-m", "ops.cli", "ask", *words, "--url", stack.url]


def ask(stack, *words, **variables):
    return subprocess.run(
        command(stack, *words),
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def job_id_in(text):
    return re.findall(r"job_[0-9a-f]{32}", text)[-1]


def token_of(api):
    return api.http.headers["Authorization"].removeprefix("Bearer ")


def jobs_of(api):
    return api.http.get("/api/ai/v4/jobs").json()["data"]


def test_pipe_gets_the_answer_of_the_synthesis_and_nothing_else(stack):
    done = ask(stack, f"{SPLITS} [[stub@synthesis:say=one_answer]]")

    assert (done.returncode, done.stdout) == (0, "one answer\n")
    for name in ("dev", "luna", "atlas", "quinn"):
        assert f"{name}: completed" in done.stderr
    assert "synthesis of " in done.stderr


def test_agents_asked_for_debate(stack):
    done = ask(stack, "Which is better?", "--agents", "dev,sage", "--strategy", "debate")

    assert done.returncode == 0
    assert {"dev (round 2): started", "sage (round 2): started"} <= set(
        re.findall(r"\w+ \(round 2\): started", done.stderr)
    )


def test_lost_agent_is_named_and_the_others_answer(stack):
    done = ask(stack, "Which? [[stub@luna:401]]", "--agents", "dev,luna,sage")

    assert done.returncode == 0
    assert "luna: failed" in done.stderr
    assert "degraded (luna failed)" in done.stderr


def test_best_reply_is_the_answer_when_the_synthesis_fails(stack):
    question = "A python bug [[stub:say=mine]] [[stub@synthesis:cut_after=1]]"

    done = ask(stack, question, "--agents", "sage,dev")

    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert "degraded (synthesis failed)" in done.stderr


def test_job_that_fails_exits_with_one(stack):
    done = ask(stack, "Why? [[stub:401]]", "--agents", "dev,sage")

    assert (done.returncode, done.stdout) == (1, "")
    assert "quorum_not_met" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Why?", "--agents", "bob"], "bob"),
        (["Why?", "--strategy", "fight"], "fight"),
        ([""], "message"),
    ],
)
def test_mistake_exits_with_two(stack, words, said):
    done = ask(stack, *words)

    assert done.returncode == 2
    assert said in done.stderr


def test_refused_token_is_one_clear_line(stack):
    done = ask(stack, "Why?", AETHER_TOKEN="not-a-token")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "token" in done.stderr


def test_interrupt_cancels_the_job_and_says_so(stack, api):
    asking = subprocess.Popen(
        command(
            stack, "Hi [[stub:tokens=400 gap_ms=50]]", "--agents", "dev,sage",
            "--token", token_of(api),
        ),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_until(lambda: jobs_of(api), 30, "the job to be submitted")
    job_id = jobs_of(api)[0]["id"]
    wait_until(lambda: api.job(job_id)["cursor"] > 4, 30, "the agents to speak")

    asking.send_signal(signal.SIGINT)
    _, progress = asking.communicate(timeout=60)

    assert asking.returncode == 1
    assert f"Cancelling {job_id}" in progress
    assert progress.splitlines()[-1].startswith("cancelled · ")
    assert api.job(job_id)["status"] == "cancelled"


def test_terminal_sees_lanes_while_agents_speak_and_the_answer_at_the_end(stack):
    mine, theirs = pty.openpty()
    asking = subprocess.Popen(
        command(
            stack,
            "Hi [[stub:tokens=30 gap_ms=30]] [[stub@synthesis:say=one_answer]]",
            "--agents",
            "dev,sage",
        ),
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = read_all(mine)

    assert asking.wait(60) == 0
    assert "▸ dev running" in shown
    assert "token-5" in shown
    end = shown[shown.rindex("✓ dev completed") :]
    assert "one answer" in end
    assert job_id_in(end)


def read_all(terminal):
    """Read until the other side has closed, which Linux reports as an error."""
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:
        pass
    os.close(terminal)
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", b"".join(pieces)).decode()
