"""Children that drills, benchmarks and tests start."""

from __future__ import annotations

import signal
import sys

import pytest

from ops.stack.own import Child, clean_environment
from ops.stack.state import CannotRun

SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def start(tmp_path):
    """Return what runs a piece of Python as a child that is ready once it has said so."""
    log = tmp_path / "child.log"

    def start(code):
        command = (sys.executable, "-c", code)
        return Child("it", command, lambda: "ready" in log.read_text(), log)

    return start


def test_child_ends_at_an_interrupt_when_its_parent_ignores_them(start):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = start(SLEEPS)
    finally:
        signal.signal(signal.SIGINT, before)

    child.process.send_signal(signal.SIGINT)

    assert child.wait() != 0
    assert "KeyboardInterrupt" in child.output


def test_child_answers_again_when_it_is_restarted(start):
    with start(SLEEPS) as child:
        first = child.process.pid

        child.restart()

        assert child.process.pid != first
    assert child.has_ended


def test_child_that_ends_too_early_is_named_with_what_it_said(start):
    with pytest.raises(CannotRun, match="the disk is full"):
        start("raise SystemExit('the disk is full')")


def test_settings_keys_and_proxies_are_kept_from_a_stack(monkeypatch):
    monkeypatch.setenv("AETHER_REDIS_URL", "redis://production")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-real")

    clean = clean_environment()

    assert "AETHER_REDIS_URL" not in clean
    assert "GROQ_API_KEY" not in clean
    assert clean["NO_PROXY"] == "127.0.0.1"
