"""A kept connection that turns out dead is no failure of the model."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest

from agents.groq.model import GroqModel
from core.chat import Message, ModelRequest, TextDelta
from core.model_errors import TransientModelError
from core.stop import StopSignal

BODY = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Server:
    """Answers the first request of a connection; `on_second` says what it does at the second."""

    def __init__(self, on_second):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.on_second, self.connections, self.requests = on_second, 0, 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, suppress(OSError):
            self._read(connection)
            connection.sendall(ANSWER)
            if self.on_second == "closes":
                return
            self._read(connection)
            if self.on_second == "breaks":
                connection.sendall(ANSWER[:20])

    def _read(self, connection):
        received = b""
        while b"\r\n\r\n" not in received or b'"stream":true' not in received.replace(b" ", b""):
            piece = connection.recv(65_536)
            if not piece:
                raise OSError
            received += piece
        self.requests += 1


def ask(model):
    request = ModelRequest(model="m", messages=(Message("user", "Hi"),), max_tokens=16)
    items = model.stream(request, deadline=time.monotonic() + 60, stop=StopSignal())
    return "".join(item.text for item in items if isinstance(item, TextDelta))


@pytest.mark.parametrize("on_second", ["closes", "says nothing"])
def test_a_call_is_made_again_when_its_kept_connection_is_dead(on_second):
    server = Server(on_second)
    model = GroqModel("key", server.url, max_connections=2)

    answers = [ask(model) for _ in range(3)]

    model.close()
    server.listener.close()
    assert answers == ["Hi"] * 3
    assert server.connections == 3


def test_a_call_is_not_made_again_when_an_answer_has_begun():
    server = Server("breaks")
    model = GroqModel("key", server.url, max_connections=2)
    ask(model)

    with pytest.raises(TransientModelError):
        ask(model)

    model.close()
    server.listener.close()
    assert server.requests == 2


def test_no_connection_is_kept_to_a_server_that_closes_each():
    server = Server("says nothing")
    model = GroqModel("key", server.url, max_connections=2, keeps_connections=False)

    assert [ask(model) for _ in range(2)] == ["Hi", "Hi"]

    model.close()
    server.listener.close()
    assert (server.connections, server.requests) == (2, 2)
