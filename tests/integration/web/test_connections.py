"""Connections that send nothing, or half a request, take none away from others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

import pytest

from ops.stack.own import default_signals
from ops.stack.readiness import free_port, http_answers
from tests.services import wait_until

LOGIN = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def port(redis_server, mongo_server, tmp_path_factory):
    """A gunicorn of eight connections, whose deadlines are about a second."""
    port = free_port()
    environment = os.environ | {
        "AETHER_PORT": str(port),
        "AETHER_JWT_SECRET": "Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA",
        "AETHER_REDIS_URL": redis_server.url,
        "AETHER_MONGO_URL": mongo_server.url,
        "AETHER_MONGO_DATABASE": "connections",
    }
    command = ["gunicorn", "-c", "python:tests.integration.web.short_conf", "web.app:create_app()"]
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdout=out,
            stderr=out,
            preexec_fn=default_signals,
        )
    wait_until(lambda: http_answers(f"http://127.0.0.1:{port}/healthz"), 60, "gunicorn")
    yield port
    process.kill()
    process.wait()


def connect(port, sent=b""):
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(sent)
    return client


def answer_to(client):
    """Return all that the server sends until it closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := client.recv(65_536):
            received += piece
    return received


def problem_in(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return json.loads(body)


def is_healthy(port):
    with connect(port, PROBE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as client:
        return answer_to(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", b"GET /healthz HTTP/1.1\r\nHost: x", LOGIN],
    ids=["nothing", "half a line", "half a head", "no end of the head"],
)
def test_a_connection_without_a_whole_head_is_closed(port, sent):
    with connect(port, sent) as client:
        assert answer_to(client) == b""


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\n" + b'{"email":',
        b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"ema\r\n',
        b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"e',
    ],
    ids=["length", "chunks", "half a chunk"],
)
def test_a_half_sent_body_is_answered_and_cut(port, rest):
    with connect(port, LOGIN + rest) as client:
        answer = answer_to(client)

    assert answer.startswith(b"HTTP/1.1 4")


def test_a_late_body_is_a_timeout(port):
    with connect(port, LOGIN + b"Content-Length: 100\r\n\r\n{") as client:
        answer = answer_to(client)

    assert problem_in(answer)["code"] == "request_timeout"
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_drips_has_no_more_time(port):
    with connect(port, LOGIN + b"Content-Length: 100000\r\n\r\n{") as client:
        client.settimeout(0.2)
        received = b""

        def drip():
            nonlocal received
            with suppress(TimeoutError):
                received += client.recv(4_096)
            with suppress(OSError):
                client.sendall(b" ")
            return received

        wait_until(drip, 60, "an answer")

    assert received.startswith(b"HTTP/1.1 408")


def test_a_kept_connection_serves_one_request_after_another(port):
    with connect(port) as client:
        for _ in range(3):
            client.sendall(PROBE)
            received = b""
            while b'{"status":"ok"}' not in received:
                received += client.recv(4_096)


def test_others_are_served_while_silent_connections_hold_all_places(port):
    with ExitStack() as open_:
        for _ in range(30):
            open_.enter_context(connect(port))

        assert is_healthy(port)
        with connect(
            port, b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ) as other:
            assert answer_to(other).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"400"),
    ],
    ids=["line", "header", "headers", "nonsense", "version"],
)
def test_what_the_server_itself_refuses_is_a_problem_document(port, sent, status):
    with connect(port, sent) as client:
        answer = answer_to(client)

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert problem_in(answer)["status"] == int(status)
