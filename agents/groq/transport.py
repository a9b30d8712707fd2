"""An HTTP transport whose calls another thread can end, whatever they wait for.

Closing a response ends a read of its body, but nothing in httpx ends the wait for its head, and a
model may be silent for long before its first word.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import httpcore
import httpx


class Call:
    """One call in progress, and the connection it was last seen on.

    Attributes:
        longest_read_s: replaces the timeout of every further read, once it is set.
    """

    def __init__(self) -> None:
        self.stream: httpcore.NetworkStream | None = None
        self.is_interrupted = False
        self.longest_read_s: float | None = None

    def interrupt(self) -> None:
        """Make whatever read the call waits in return; safe at any moment, from any thread."""
        self.is_interrupted = True
        sock = self.stream.get_extra_info("socket") if self.stream is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class InterruptibleTransport(httpx.HTTPTransport):
    """httpx's own transport, over connections that know which call they serve."""

    def __init__(self, limits: httpx.Limits) -> None:
        super().__init__()
        self._calls = threading.local()
        # httpx offers no argument for the network below its pool.
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(self._calls),
        )

    @contextlib.contextmanager
    def call(self) -> Iterator[Call]:
        """Name what this thread sends during the block, so that it can be interrupted."""
        self._calls.current = call = Call()
        try:
            yield call
        finally:
            call.stream = None
            self._calls.current = None


class _Backend(httpcore.SyncBackend):
    def __init__(self, calls: threading.local) -> None:
        self._calls = calls

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **kwargs), self._calls)


class _Stream(httpcore.NetworkStream):
    """A connection that tells the call of the writing thread that it carries it."""

    def __init__(self, inner: httpcore.NetworkStream, calls: threading.local) -> None:
        self._inner = inner
        self._calls = calls

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = getattr(self._calls, "current", None)
        if call is not None:
            call.stream = self._inner
        self._inner.write(buffer, timeout)
        # An interrupt that came while it connected found nothing to shut down.
        if call is not None and call.is_interrupted:
            call.interrupt()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = getattr(self._calls, "current", None)
        if call is not None and call.longest_read_s is not None:
            timeout = call.longest_read_s
        return self._inner.read(max_bytes, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._calls)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
