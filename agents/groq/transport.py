"""An HTTP transport whose calls can be interrupted from another thread at any moment.

In httpx, closing a response ends a read of its body, but nothing ends the wait for its head, and a
model may think for a long time before it sends one.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, cast

import httpcore
import httpx

#: Of an error's body only its message is used.
_MAX_ERROR_BYTES: Final = 64 * 1024
#: So many kept connections that are dead may be met one after the other.
_DEAD_CONNECTIONS: Final = 3
#: No answer is longer; its reader gives up at this size.
_MAX_BYTES: Final = 64 << 20


class Call:
    """One call in progress, and the connection that carries it.

    Args:
        deadline: `time.monotonic()` value after which no read or write waits.

    Attributes:
        is_whole: the answer is complete; a read that fails from here on loses nothing.
        is_on_kept: the connection has carried another call before.
        has_received: the server has sent something on this call.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self.stream: httpcore.NetworkStream | None = None
        self.is_interrupted = False
        self.is_whole = False
        self.is_on_kept = False
        self.has_received = False
        self._deadline = deadline
        self._read_timeout_s: float | None = None

    def bound_silence(self, timeout_s: float) -> None:
        """Replace the timeout of every further read."""
        if not self.is_whole:
            self._read_timeout_s = timeout_s

    def end_within(self, timeout_s: float) -> None:
        """Call the answer whole, and let its reads end so much later at the latest."""
        self.is_whole = True
        self._deadline = min(self._deadline, time.monotonic() + timeout_s)

    def read_timeout_s(self, given_s: float | None) -> float:
        timeout_s = given_s if self._read_timeout_s is None else self._read_timeout_s
        return self.within_deadline_s(timeout_s)

    def within_deadline_s(self, timeout_s: float | None) -> float:
        """Return the timeout, but at most the time to the deadline.

        Raises:
            httpcore.ReadTimeout: the deadline has passed; a server that sends a byte now and then
                would reset every timeout and be waited for without end.
        """
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout
        return left_s if timeout_s is None else min(timeout_s, left_s)

    def is_dead_before_answer(self) -> bool:
        """Say whether a kept connection broke before the server said anything."""
        return self.is_on_kept and not (self.has_received or self.is_interrupted)

    def interrupt(self) -> None:
        """Make a read that the call is blocked in return; safe at any moment, from any thread."""
        self.is_interrupted = True
        sock = self.stream.get_extra_info("socket") if self.stream is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class InterruptibleTransport(httpx.HTTPTransport):
    """httpx's transport, over connections that register with the call they carry.

    It trusts no response: the body of an error is cut at `_MAX_ERROR_BYTES`, a compressed one is
    not read at all.
    """

    def __init__(self, limits: httpx.Limits, proxy: str | None = None) -> None:
        super().__init__()
        self._calls = threading.local()
        options: dict[str, Any] = {
            "ssl_context": httpx.create_ssl_context(),
            "max_connections": limits.max_connections,
            "max_keepalive_connections": limits.max_keepalive_connections,
            "keepalive_expiry": limits.keepalive_expiry,
            "network_backend": _Backend(self._calls),
        }
        # httpx has no argument for the network backend of its pool.
        self._pool = _proxied_pool(proxy, options) if proxy else httpcore.ConnectionPool(**options)

    @contextlib.contextmanager
    def call(self, deadline: float = math.inf) -> Iterator[Call]:
        """Return the call that stands for this thread's request in the block, to interrupt it."""
        self._calls.current = call = Call(deadline)
        try:
            yield call
        finally:
            call.stream = None
            self._calls.current = None

    def _send(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and once more at once where a kept connection turns out to be dead.

        A server may close a connection at any moment while nobody uses it. Nothing was received
        then, and no other server would have been asked, so that is no failure of the model.
        """
        for _ in range(_DEAD_CONNECTIONS):
            try:
                return super().handle_request(request)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                call = getattr(self._calls, "current", None)
                if call is None or not call.is_dead_before_answer():
                    raise
        return super().handle_request(request)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._send(request)
        headers = response.headers
        encoding = headers.pop("content-encoding", "identity").strip().lower()
        is_plain = encoding in ("", "identity")
        if response.is_success:
            if not is_plain:
                response.close()
                raise httpx.DecodingError("The response is compressed.", request=request)
            most = _MAX_BYTES
        else:
            most = _MAX_ERROR_BYTES if is_plain else 0
            # An error's text is read in UTF-8: a `charset` may name a decompressor of Python's.
            headers.pop("content-type", None)
        stream = cast("httpx.SyncByteStream", response.stream)
        body = _BoundedBody(stream, most, is_error=not response.is_success)
        return httpx.Response(
            response.status_code, headers=headers, stream=body, extensions=response.extensions
        )


def _proxied_pool(proxy: str, options: dict[str, Any]) -> httpcore.HTTPProxy:
    parts = httpx.URL(proxy)
    login = (parts.username.encode(), parts.password.encode()) if parts.username else None
    return httpcore.HTTPProxy(
        proxy_url=str(parts.copy_with(userinfo=b"")), proxy_auth=login, **options
    )


class _BoundedBody(httpx.SyncByteStream):
    """A body that ends early: after so many bytes, and that of an error where it breaks off."""

    def __init__(self, inner: httpx.SyncByteStream, most: int, *, is_error: bool) -> None:
        self._inner = inner
        self._left = most
        self._is_error = is_error

    def __iter__(self) -> Iterator[bytes]:
        if self._left <= 0:
            return
        try:
            for piece in self._inner:
                yield piece[: self._left]
                self._left -= len(piece)
                if self._left <= 0:
                    return
        except httpx.TransportError:
            # The status says what failed; without it the error would pass for a lost connection.
            if not self._is_error:
                raise

    def close(self) -> None:
        self._inner.close()


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
        self._has_answered = False

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = getattr(self._calls, "current", None)
        if call is not None:
            if call.stream is not self._inner:
                call.is_on_kept, call.has_received = self._has_answered, False
            call.stream = self._inner
            timeout = call.within_deadline_s(timeout)
        self._inner.write(buffer, timeout)
        # An interrupt during the connect found no socket to shut down; repeat it now.
        if call is not None and call.is_interrupted:
            call.interrupt()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = getattr(self._calls, "current", None)
        if call is not None:
            timeout = call.read_timeout_s(timeout)
        received = self._inner.read(max_bytes, timeout)
        if received:
            self._has_answered = True
            if call is not None:
                call.has_received = True
        return received

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
