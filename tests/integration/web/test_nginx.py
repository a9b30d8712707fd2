"""deploy/nginx.conf in a real nginx, in front of a server that shows what reaches it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from ops.stack.own import Child
from ops.stack.readiness import free_port, http_answers
from ops.stack.state import ROOT
from tests.debian import nginx


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Api)
        self.has_first = threading.Event()


class Api(BaseHTTPRequestHandler):
    """Answers with the request's own headers; streams and refuses on request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/refuse":
            self._answer(422, b'{"code":"of_the_api"}')
        elif self.path == "/stream":
            self._stream()
        else:
            self._answer(200, json.dumps(dict(self.headers.items())).encode())

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(200, b"{}")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"7\r\n: one\n\n\r\n")
        self.wfile.flush()
        # The rest comes when the client says that it has the first part.
        self.server.has_first.wait(60)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def api():
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.has_first.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def start(tmp_path):
    """Starts nginx with the deployment's file, in front of a port; returns its address."""
    running = []

    def start_one(api_port):
        port = free_port()
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        # Debian's version knows `resolve` not yet; names and paths are the container's.
        text = re.sub(r"resolver .*;", "", text)
        text = text.replace("server api:8001 resolve;", f"server 127.0.0.1:{api_port};")
        text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
        text = text.replace("worker_processes auto;", "worker_processes 1;\ndaemon off;")
        text = text.replace("/tmp/", f"{tmp_path}/")
        conf = tmp_path / "nginx.conf"
        conf.write_text(text)
        words = (str(nginx()), "-c", str(conf), "-p", str(tmp_path), "-e", str(tmp_path / "error"))
        checked = subprocess.run((*words, "-t"), capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0, checked.stderr
        url = f"http://127.0.0.1:{port}"

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        running.append(Child(url, words, listens, tmp_path / "log"))
        return url

    yield start_one
    for child in running:
        child.stop()


@pytest.fixture
def url(start, api):
    return start(api.server_port)


def problem_of(response):
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert len(problem["request_id"]) >= 8
    return problem


def test_what_a_client_says_of_itself_is_not_believed(url):
    said = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Request-ID": "mine-1234"}

    seen = httpx.get(url, headers=said).json()

    assert seen["X-Forwarded-For"] == "127.0.0.1"
    assert seen["X-Forwarded-Proto"] == "http"
    assert seen["X-Request-ID"] == "mine-1234"


def test_an_event_stream_passes_as_it_comes(url, api):
    with httpx.stream("GET", f"{url}/stream", timeout=60) as response:
        first = next(response.iter_raw())
        api.has_first.set()

    assert first.startswith(b": one")


def test_errors_of_the_api_pass_as_they_are(url):
    response = httpx.get(f"{url}/refuse")

    assert (response.status_code, response.json()) == (422, {"code": "of_the_api"})


def test_a_body_over_the_limit_is_a_problem(url):
    response = httpx.post(url, content=b"x" * (1 << 20) + b"x")

    assert problem_of(response)["code"] == "payload_too_large"


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/" + "a" * 40_000, {}, "uri_too_long"),
        ("/", {"X-Long": "a" * 40_000}, "request_header_fields_too_large"),
    ],
    ids=["address", "header"],
)
def test_what_is_too_long_is_a_problem(url, path, headers, code):
    assert problem_of(httpx.get(url + path, headers=headers))["code"] == code


def test_an_api_that_is_away_is_a_problem(start):
    response = httpx.get(start(free_port()))

    assert problem_of(response)["code"] == "bad_gateway"
    assert response.headers["Retry-After"] == "5"


def test_a_flood_of_one_address_is_refused_and_probes_are_not(url):
    with httpx.Client(base_url=url) as client:
        logins = [client.post("/api/auth/login", json={}) for _ in range(60)]
        probes = [client.get("/healthz").status_code for _ in range(30)]

    refused = [response for response in logins if response.status_code != 200]
    assert 1 <= len(refused) < 60
    assert problem_of(refused[0])["code"] == "too_many_requests"
    assert refused[0].headers["Retry-After"] == "1"
    assert probes == [200] * 30
    assert http_answers(f"{url}/other")


def test_token_of_a_link_is_in_no_log_when_the_api_is_away(start, tmp_path):
    url = start(free_port())

    with httpx.Client() as client:
        statuses = {client.get(f"{url}/reset-password?token=canary").status_code for _ in range(40)}
        client.get(f"{url}/elsewhere?shown")

    assert statuses == {429, 502}
    shown = (tmp_path / "error").read_text()
    assert "shown" in shown
    assert "canary" not in shown
