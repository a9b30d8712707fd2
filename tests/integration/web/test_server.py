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

import httpx
import pytest

from ops.stack.own import default_signals
from storage.accounts.password_changes import PasswordChanges
from storage.accounts.users import Accounts
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


def test_password_is_set_by_the_page_and_the_log_holds_no_token(server, mongo_database):
    address, _, log = server
    ask_until_answered(f"{address}/readyz")
    with httpx.Client(base_url=address, timeout=DEADLINE_S) as client:
        body = {"email": "ann@example.com", "password": "correct horse"}
        user = client.post("/api/auth/register", json=body).json()["user"]
        changes = PasswordChanges(mongo_database, Accounts(mongo_database))
        token, _ = changes.make_reset_token(user["id"])

        shown = client.get("/reset-password", params={"token": token})
        fields = {"token": token, "new_password": "battery staple"}
        done = client.post("/reset-password", data=fields)
        login = client.post("/api/auth/login", json=body | {"password": "battery staple"})
        session = {"Authorization": f"Bearer {login.json()['access_token']}"}
        listed = client.get("/api/auth/sessions", headers=session).json()["data"]

    assert [shown.status_code, done.status_code, login.status_code] == [200, 200, 200]
    assert [entry["is_current"] for entry in listed] == [True]
    assert '"route":"/reset-password"' in log.read_text()
    assert token not in log.read_text()
