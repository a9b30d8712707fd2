"""A TCP proxy that breaks on request what passes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self

_CHUNK_BYTES = 64 * 1024
_TIMEOUT_S = 10.0
#: Makes a close send RST, and drop what was not sent yet.
_NO_LINGER = struct.pack("ii", 1, 0)


class TcpProxy:
    """Forwards `127.0.0.1:port` to a port of this machine until `close`.

    Args:
        latency_s: how long each piece waits in each direction; may be changed at any time.
    """

    def __init__(self, target_port: int, *, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self._target_port = target_port
        self._is_swallowing = False
        #: Of each connection, the writer to its client and the writer to the target.
        self._links: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._half_closed: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy")
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        return len(self._links)

    def reset(self) -> None:
        """Break every connection by RST on both sides; new ones are accepted."""
        self._run(self._reset())

    def blackhole(self) -> None:
        """Swallow all bytes from now on; connections stay open and new ones are accepted."""
        self._is_swallowing = True

    def heal(self) -> None:
        """Pass bytes on again; what was swallowed is gone."""
        self._is_swallowing = False

    def half_close(self) -> None:
        """End what clients receive; what they send still arrives."""
        self._run(self._half_close())

    def close(self) -> None:
        """End every connection and the proxy; a repeat does nothing."""
        if self._loop.is_closed():
            return
        self._run(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT_S)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, target = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            _abort(client)
            return
        self._links[client] = target
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(self._pump(reader, target), self._pump(answers, client))
        finally:
            self._links.pop(client, None)
            self._half_closed.discard(client)
            client.close()
            target.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(_CHUNK_BYTES):
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            if not self._is_swallowing and sink not in self._half_closed:
                sink.write(piece)
                await sink.drain()
        if sink not in self._half_closed and not sink.is_closing():
            sink.write_eof()

    async def _reset(self) -> None:
        for client, target in self._links.items():
            _abort(client)
            _abort(target)

    async def _half_close(self) -> None:
        for client in set(self._links) - self._half_closed:
            self._half_closed.add(client)
            client.write_eof()

    async def _settle(self) -> None:
        self._server.close()
        await self._reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
