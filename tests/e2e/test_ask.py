"""`aether ask`, as a person and as a script would run it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from ops.stack.own import default_signals
from ops.stack.state import ROOT

pytestmark = pytest.mark.e2e

SPLITS = "Build a secure REST API in Flask with a usable UI and deploy it"


def command(stack, *words):
    """Name the stack by its directory alone, as from another terminal."""
    state = str(stack.directory.root)
    return [sys.executable, "-m", "ops.cli", "ask", *words, "--state", state]


def ask(stack, *words, **variables):
    return subprocess.run(
        command(stack, *words),
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_pipe_gets_the_answer_of_the_synthesis_and_nothing_else(stack):
    done = ask(stack, f"{SPLITS} [[stub@synthesis:say=one_answer]]")

    assert (done.returncode, done.stdout) == (0, "one answer\n")
    for name in ("dev", "luna", "atlas", "quinn"):
        assert f"{name}: completed" in done.stderr
    assert "synthesis of " in done.stderr


def test_one_agent_answers_with_a_summary_and_no_other_line(stack):
    done = ask(stack, "Why? [[stub:say=because]]", "--agents", "dev")

    assert (done.returncode, done.stdout) == (0, "because\n")
    assert re.fullmatch(r"completed · .+ tokens · \$.+ · total .+ s · job_\w+\n", done.stderr)


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


def test_absent_server_is_named_when_another_url_is_given(stack):
    done = ask(stack, "Why?", "--url", "http://127.0.0.1:1")

    assert (done.returncode, done.stdout) == (1, "")
    assert "Nothing answers at http://127.0.0.1:1" in done.stderr


def test_terminal_shows_the_answer_as_it_comes_and_an_interrupt_cancels_the_job(stack, api):
    mine, theirs = pty.openpty()
    question = "Hi [[stub:tokens=400 gap_ms=50]]"
    token = api.authorization.removeprefix("Bearer ")
    asking = subprocess.Popen(
        command(stack, question, "--agents", "dev", "--token", token),
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=default_signals,
    )
    os.close(theirs)
    shown = read_until(mine, b"token-3 ")

    asking.send_signal(signal.SIGINT)
    shown += read_until(mine, None)
    os.close(mine)

    assert asking.wait(60) == 1
    (job,) = api.jobs()
    assert job["status"] == "cancelled"
    lines = shown.decode().splitlines()
    assert f"Cancelling {job['id']} …" in lines
    assert lines[-1].startswith("cancelled · ")


def read_until(terminal, wanted):
    """Read up to `wanted`, or to the other side's end, which Linux reports as an error."""
    shown = b""
    try:
        while wanted is None or wanted not in shown:
            shown += os.read(terminal, 65536)
    except OSError:
        assert wanted is None, shown
    return shown
