"""gunicorn's gevent worker, with bounds on connections that send nothing, or not all.

gunicorn bounds neither how long a request's head and body may take nor what happens when every
connection is taken: a client that sends half a body would hold one for ever.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from contextlib import nullcontext, suppress
from http import HTTPStatus
from typing import Any, Final

from gevent import socket
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from web.admission import MAX_CONNECTIONS

#: Connections beyond `MAX_CONNECTIONS`, for probes and for being refused.
SPARE_CONNECTIONS: Final = 200
#: How long a connection may stay without a request: a new one, and one that had some.
_FIRST_S: Final = 20.0
_KEPT_S: Final = 75.0
#: How long a request may take to arrive from its first byte on, and be silent meanwhile.
_WHOLE_S: Final = 60.0
_SILENT_S: Final = 10.0
_PROBES: Final = ("/healthz", "/readyz")
_STATUS: Final = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
}


class BoundedSocket:
    """A client's socket whose reads end when a request takes too long to arrive.

    Attributes:
        is_late: the request did not arrive in time; reads return no bytes any more.
        is_idle: it waits for a request's first byte.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._first_s = _FIRST_S
        self._whole_until = 0.0
        self.is_late = False
        self.is_idle = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def recv(self, size: int) -> bytes:
        """Read as a socket does; no bytes when time is over, as if the client had gone."""
        if self.is_late:
            return b""
        left_s = self._first_s if self.is_idle else self._whole_until - time.monotonic()
        self._inner.settimeout(max(0.0, left_s if self.is_idle else min(left_s, _SILENT_S)))
        try:
            piece: bytes = self._inner.recv(size)
        except (TimeoutError, BlockingIOError):
            self.is_late = not self.is_idle
            return b""
        finally:
            with suppress(OSError):
                self._inner.settimeout(None)
        if piece and self.is_idle:
            self.is_idle = False
            self._whole_until = time.monotonic() + _WHOLE_S
        return piece

    def await_next(self) -> None:
        """Begin to wait for another request."""
        self.is_idle = True
        self._first_s = _KEPT_S

    def cut(self) -> None:
        """End whatever read waits."""
        with suppress(OSError):
            self._inner.shutdown(socket.SHUT_RDWR)


class BoundedWorker(GeventWorker):  # type: ignore[misc]
    """Serves as many connections as it may, and health probes always."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: In the order in which they came, or had their last request.
        self._connections: OrderedDict[BoundedSocket, None] = OrderedDict()

    def timeout_ctx(self) -> Any:
        """Return nothing that interrupts: the socket itself knows how long to wait."""
        return nullcontext()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        bounded = BoundedSocket(client)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._close_longest_idle()
        self._connections[bounded] = None
        try:
            super().handle(listener, bounded, addr)
        finally:
            del self._connections[bounded]

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        if len(self._connections) > MAX_CONNECTIONS and req.path not in _PROBES:
            self._refuse(sock)
            raise StopIteration
        answered = super().handle_request(listener_name, req, sock, addr)
        sock.await_next()
        self._connections.move_to_end(sock)
        return answered

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """Answer what gunicorn itself refuses as everything else is answered."""
        status = _STATUS.get(type(exc), HTTPStatus.BAD_REQUEST)
        if not isinstance(exc, errors.ParseException):
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            self.log.error("request failed before it was read", exc_info=exc)
        answer(client, status, f"The server cannot read this request: {status.phrase}.")

    def _close_longest_idle(self) -> None:
        idle = next((sock for sock in self._connections if sock.is_idle), None)
        if idle is not None:
            idle.cut()

    def _refuse(self, sock: Any) -> None:
        detail = "This process has no connection left; try again."
        answer(sock, HTTPStatus.SERVICE_UNAVAILABLE, detail, "Retry-After: 5\r\n")


def answer(sock: Any, status: HTTPStatus, detail: str, headers: str = "") -> None:
    """Send a problem document (RFC 9457) where no application can, and no error if that fails."""
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    problem = {
        "type": f"urn:aether:error:{code}",
        "title": status.phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": None,
    }
    body = json.dumps(problem).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{headers}"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with suppress(OSError):
        sock.sendall(head.encode() + body)
