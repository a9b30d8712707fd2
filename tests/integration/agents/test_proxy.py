"""Calls to the model go through the proxy that the environment names."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agents.groq.model import GroqModel
from core.chat import Message, ModelRequest, TextDelta
from core.stop import StopSignal

ANSWER = (
    b'data: {"choices":[{"delta":{"content":"by proxy"},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


class Proxy(ThreadingHTTPServer):
    """A proxy that answers for every server, and keeps what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self):
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


@pytest.fixture
def proxy():
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(url):
    model = GroqModel("key", url, max_connections=1)
    request = ModelRequest(model="any", messages=(Message("user", "Hi"),), max_tokens=16)
    try:
        found = model.stream(request, deadline=time.monotonic() + 60, stop=StopSignal())
        return "".join(item.text for item in found if isinstance(item, TextDelta))
    finally:
        model.close()


@pytest.mark.parametrize(
    ("login", "header"), [("", None), ("me:pass@", "Basic bWU6cGFzcw==")], ids=["open", "login"]
)
def test_a_call_goes_through_the_proxy_of_the_environment(monkeypatch, proxy, login, header):
    monkeypatch.setenv("HTTP_PROXY", f"http://{login}127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")

    assert ask("http://model.example:81") == "by proxy"
    assert proxy.asked == [("http://model.example:81/openai/v1/chat/completions", header)]
