"""The API as gunicorn serves it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress

import pytest

from ops.stack.own import default_signals
from tests.services import wait_until

DEADLINE_S = 60


@pytest.fixture
def server(settings, tmp_path):
    """Start gunicorn on a free port; yields its address, its process and its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "AETHER_PORT": str(port),
        "AETHER_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "AETHER_REDIS_URL": settings.redis_url.get_secret_value(),
        "AETHER_MONGO_URL": settings.mongo_url.get_secret_value(),
        "AETHER_MONGO_DATABASE": settings.mongo_database,
    }
    command = ["gunicorn", "-c", "python:web.gunicorn_conf", "web.app:create_app()"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdout=out,
            stderr=out,
            preexec_fn=default_signals,
        )
    yield f"http://127.0.0.1:{port}", process, log
    process.kill()
    process.wait()


def ask_until_answered(url):
    """Return the first response of status 200; the server may still start, or be slow."""
    responses = []

    def is_answered():
        with suppress(OSError):
            responses.append(urllib.request.urlopen(url, timeout=DEADLINE_S))
        return responses

    wait_until(is_answered, DEADLINE_S, url)
    return responses[0]


def test_server_is_ready_and_its_database_prepared_when_it_starts(server, mongo_database):
    address, _, _ = server

    response = ask_until_answered(f"{address}/readyz")

    users = mongo_database["users"]
    wait_until(lambda: "email" in users.index_information(), DEADLINE_S, "the index")
    assert json.load(response)["status"] == "ok"


def test_log_is_json_alone_when_the_server_starts_and_stops(server):
    address, process, log = server
    ask_until_answered(f"{address}/healthz")

    process.send_signal(signal.SIGTERM)

    assert process.wait(DEADLINE_S) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["service"] for line in lines] == ["api"] * len(lines)
    assert any(line["event"] == "request" and line["route"] == "/healthz" for line in lines)
