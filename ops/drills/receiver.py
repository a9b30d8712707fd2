"""A receiver of webhooks on this machine, with TLS, that keeps what it was sent."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from msgspec import Struct

from ops.certificates import Certificates

_MOST_BYTES: Final = 4 << 20


class Received(Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        at_s: when it came, in Unix seconds.
        headers: by their names in small letters.
    """

    at_s: float
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


class Receiver:
    """Serves https://127.0.0.1 until the block ends.

    Args:
        respond: says what a call is answered with: a status, or one with headers; it may wait.
    """

    def __init__(
        self,
        certificates: Certificates,
        respond: Callable[[Received], int | tuple[int, dict[str, str]]] = lambda _: 204,
    ) -> None:
        self.calls: list[Received] = []
        self.respond = respond
        self._open_calls = 0
        self.most_open_calls = 0
        self._lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.own, certificates.key)
        self._server = _Server(("127.0.0.1", 0), _handler_of(self), context)
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, received: Received) -> tuple[int, dict[str, str]]:
        """Keep the call and return what it is answered with."""
        with self._lock:
            self.calls.append(received)
            self._open_calls += 1
            self.most_open_calls = max(self.most_open_calls, self._open_calls)
        try:
            answer = self.respond(received)
        finally:
            with self._lock:
                self._open_calls -= 1
        return (answer, {}) if isinstance(answer, int) else answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(address, handler)
        # The handshake is made by the call's own thread.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is no news."""


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", "0")), _MOST_BYTES)
            received = Received(
                at_s=time.time(),
                path=self.path,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
            status, headers = receiver.answer(received)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
