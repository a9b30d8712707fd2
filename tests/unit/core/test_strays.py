"""Variables of libraries never override a setting."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.strays import is_stray, without_strays
from ops.stack.state import ROOT

STRAYS = {
    "CELERY_BROKER_URL": "redis://stray:1/0",
    "CELERY_RESULT_BACKEND": "redis://stray:1/0",
    "CELERY_CONFIG_MODULE": "stray",
    "CELERY_LOADER": "stray",
    "BROKER_URL": "redis://stray:1/0",
    "RESULT_BACKEND": "redis://stray:1/0",
    "FLOWER_PORT": "tcp://10.0.0.1:5555",
    "FLOWER_BASIC_AUTH": "",
    "FLOWER_UNAUTHENTICATED_API": "true",
    "FLOWER_BROKER_API": "http://stray",
    "GUNICORN_CMD_ARGS": "--bind 0.0.0.0:1",
    "WEB_CONCURRENCY": "many",
    "FLASK_APP": "stray",
}
OURS = {
    "AETHER_PORT": "1",
    "GROQ_API_KEY": "k",
    "PATH": "/bin",
    "HTTPS_PROXY": "http://p",
    "HOME": "/",
}


def test_only_strays_are_taken_out():
    assert without_strays(STRAYS | OURS) == OURS
    assert all(map(is_stray, STRAYS))


@pytest.mark.parametrize(
    "words",
    [
        ("celery", "-A", "workers.app:celery_app", "report"),
        ("celery", "-A", "workers.app:celery_app", "flower", "--help"),
    ],
    ids=["celery", "flower"],
)
def test_a_program_started_by_hand_takes_none_of_them(words):
    shown = subprocess.run(
        (sys.executable, "-m", *words),
        cwd=ROOT,
        env=os.environ | STRAYS | {"AETHER_REDIS_URL": "redis://127.0.0.1:1/7"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert shown.returncode == 0, shown.stderr
    assert "stray" not in shown.stdout
