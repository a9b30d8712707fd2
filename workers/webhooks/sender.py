"""One call to a webhook's receiver: to an address that was checked, within a deadline."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import httpcore
from msgspec import Struct

from core.webhooks import Reachable

#: For all of a call: look-up, connection, TLS, request and the head of the answer.
CALL_WITHIN_S: Final = 10.0
_HEADERS: Final[dict[str | bytes, str | bytes]] = {
    "Content-Type": "application/json",
    "User-Agent": "Aether-Webhooks/1",
}


class NotReachable(Exception):
    """No address of the host may be called."""


class Answer(Struct, frozen=True, kw_only=True):
    """What came of a call.

    Attributes:
        status: of HTTP; None without an answer.
        error: a word for what went wrong; None after a 2xx.
        retry_after_s: what the receiver asks for.
    """

    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None


class Sender:
    """Makes calls; safe to share between threads.

    No redirect is followed, no cookie is kept, of the answer only its head is read, and the proxies
    of the environment are not used.

    Args:
        ca_file: authorities that are trusted besides the system's.
        proxy: calls go through it, which decides then what may be reached.
    """

    def __init__(
        self, reachable: Reachable, *, ca_file: Path | None = None, proxy: str | None = None
    ) -> None:
        self._reachable = reachable
        self._proxy = proxy
        self._context = ssl.create_default_context()
        if ca_file is not None:
            self._context.load_verify_locations(ca_file)

    def send(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Post the body and return what came of it; raises nothing for what a receiver does."""
        until = time.monotonic() + CALL_WITHIN_S
        request: dict[str, Any] = {
            "headers": _HEADERS | dict(headers.items()),
            "content": body,
            "extensions": _timeouts(),
        }
        try:
            with self._pool(until) as pool, pool.stream("POST", url, **request) as response:
                return _to_answer(response)
        except NotReachable:
            return Answer(error="address_not_public")
        except socket.gaierror:
            return Answer(error="host_not_found")
        except (httpcore.TimeoutException, TimeoutError):
            return Answer(error="timeout")
        except ssl.SSLError:
            return Answer(error="tls_failed")
        except httpcore.ConnectError as error:
            is_tls = isinstance(error.__context__ or error.__cause__, ssl.SSLError)
            return Answer(error="tls_failed" if is_tls else "connection_failed")
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol, UnicodeError, ValueError):
            return Answer(error="no_http")
        except (httpcore.NetworkError, httpcore.ProxyError, OSError):
            return Answer(error="connection_failed")

    def _pool(self, until: float) -> httpcore.ConnectionPool:
        if self._proxy is not None:
            return httpcore.HTTPProxy(
                self._proxy, ssl_context=self._context, network_backend=_Bounded(until, None)
            )
        backend = _Bounded(until, self._reachable)
        return httpcore.ConnectionPool(ssl_context=self._context, network_backend=backend)


class _Bounded(httpcore.SyncBackend):
    """Connects to checked addresses alone, and lets nothing last beyond a moment.

    Args:
        reachable: None where a proxy is called, which is trusted.
    """

    def __init__(self, until: float, reachable: Reachable | None) -> None:
        super().__init__()
        self._until = until
        self._reachable = reachable

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = (
            [host] if self._reachable is None else _checked_addresses(host, port, self._reachable)
        )
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError):
                return self._connect(address, port)
        return self._connect(addresses[-1], port)

    def _connect(self, address: str, port: int) -> httpcore.NetworkStream:
        return _BoundedStream(super().connect_tcp(address, port, _left_s(self._until)), self._until)


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left_s(self._until))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inside = self._stream.start_tls(ssl_context, server_hostname, _left_s(self._until))
        return _BoundedStream(inside, self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(until: float) -> float:
    """Return how much time is left.

    Raises:
        TimeoutError: none.
    """
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _checked_addresses(host: str, port: int, reachable: Reachable) -> list[str]:
    """Look a host up once and return its addresses that may be called, at least one.

    Raises:
        NotReachable: it has none.
        socket.gaierror: there is no such host.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(place[0]) for *_, place in found)
    allowed = [text for text in addresses if reachable.allows(host, ip_address(text))]
    if not allowed:
        raise NotReachable
    return allowed


def _timeouts() -> dict[str, Any]:
    return {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), CALL_WITHIN_S)}


def _to_answer(response: httpcore.Response) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(status=status)
    headers = {name.lower(): value for name, value in response.headers}
    error = "redirect" if 300 <= status < 400 else f"http_{status}"
    asked = _seconds(headers.get(b"retry-after", b"").decode("latin-1"))
    return Answer(status=status, error=error, retry_after_s=asked)


def _seconds(text: str) -> float | None:
    """Return what Retry-After says, in seconds; None where it says nothing that can be read."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
