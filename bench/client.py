"""An HTTP/1.1 client with little overhead: kept-alive connections on plain asyncio streams."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from dataclasses import dataclass, field
from typing import Any

_READ_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Target:
    """A server on this machine; no load is sent to any other."""

    port: int
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        assert ipaddress.ip_address(self.host).is_loopback, "load goes to this machine only"


@dataclass
class Measured:
    """The durations of one scenario's requests, in seconds, and what they used.

    Attributes:
        requests: their number, where they are counted and not timed one by one.
        elapsed_s: how long the scenario was measured.
        cpu_ms: processor time that each part used per request, where it was measured.
        others_cores: cores that processes of no part used.
    """

    seconds: list[float] = field(default_factory=list)
    requests: int = 0
    elapsed_s: float = 0.0
    others_cores: float = 0.0
    cpu_ms: dict[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return (len(self.seconds) or self.requests) / self.elapsed_s

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class Refused(RuntimeError):
    """The server answered with an error."""

    def __init__(self, status: int, head: bytes) -> None:
        super().__init__(f"the server answered {head.decode()}")
        self.status = status


class Connection:
    """One kept-alive connection, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, target: Target) -> Connection:
        return cls(*await asyncio.open_connection(target.host, target.port, limit=1 << 20))

    def close(self) -> None:
        self._writer.close()

    async def post(self, path: str, body: Any, headers: dict[str, str]) -> bytes:
        """Send a request and return the answer's body.

        Raises:
            Refused: the server answered with an error.
        """
        self._send(path, body, headers)
        async with asyncio.timeout(_READ_TIMEOUT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            return await self._reader.readexactly(_content_length(head))

    async def first_text_s(
        self, path: str, body: Any, headers: dict[str, str], mark: bytes
    ) -> float:
        """Send a request, read the streamed answer to its end, and time its first `mark`.

        Raises:
            Refused: the server answered with an error.
            RuntimeError: the answer ended without the mark.
        """
        began = time.perf_counter()
        self._send(path, body, headers)
        first: float | None = None
        seen = b""
        async with asyncio.timeout(_READ_TIMEOUT_S):
            _check_status(await self._reader.readuntil(b"\r\n\r\n"))
            while not seen.endswith(b"0\r\n\r\n"):
                piece = await self._reader.read(65536)
                if not piece:
                    break
                seen += piece
                if first is None and mark in seen:
                    first = time.perf_counter() - began
        if first is None:
            raise RuntimeError(f"no {mark!r} in {seen[:300]!r}")
        return first

    def _send(self, path: str, body: Any, headers: dict[str, str]) -> None:
        payload = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(payload)}", "", ""]
        self._writer.write("\r\n".join(lines).encode() + payload)


def _content_length(head: bytes) -> int:
    _check_status(head)
    start = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[start : head.index(b"\r\n", start)])


def _check_status(head: bytes) -> None:
    status = int(head.split(b" ", 2)[1])
    if status >= 300:
        raise Refused(status, head)
