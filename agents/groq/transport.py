"""An HTTP transport whose calls can be interrupted from another thread at any moment.

In httpx, closing a response ends a read of its body, but nothing ends the wait for its head, and a
model may think for a long time before it sends one.
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
    """One call in progress, and the connection that carries it.

    Attributes:
        read_timeout_s: once set, replaces the timeout of every further read.
    """

    def __init__(self) -> None:
        self.stream: httpcore.NetworkStream | None = None
        self.is_interrupted = False
        self.read_timeout_s: float | None = None

    def interrupt(self) -> None:
        """Make a read that the call is blocked in return; safe at any moment, from any thread."""
        self.is_interrupted = True
        sock = self.stream.get_extra_info("socket") if self.stream is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class InterruptibleTransport(httpx.HTTPTransport):
    """httpx's transport, over connections that register with the call they carry."""

    def __init__(self, limits: httpx.Limits) -> None:
        super().__init__()
        self._calls = threading.local()
        # httpx has no argument for the network backend of its pool.
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(self._calls),
        )

    @contextlib.contextmanager
    def call(self) -> Iterator[Call]:
        """Return the call that stands for this thread's request in the block, to interrupt it."""
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
    """A connection that registers with the writing thread's call."""

    def __init__(self, inner: httpcore.NetworkStream, calls: threading.local) -> None:
        self._inner = inner
        self._calls = calls

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = getattr(self._calls, "current", None)
        if call is not None:
            call.stream = self._inner
        self._inner.write(buffer, timeout)
        # An interrupt during the connect found no socket to shut down; repeat it now.
        if call is not None and call.is_interrupted:
            call.interrupt()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = getattr(self._calls, "current", None)
        if call is not None and call.read_timeout_s is not None:
            timeout = call.read_timeout_s
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
