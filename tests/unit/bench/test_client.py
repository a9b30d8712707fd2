"""The load client, against a server of ten lines."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from bench.client import Connection, Measured, Target
from bench.cpu import Sample
from bench.load import complete, in_turn

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def served(*pieces):
    """Answer every request with the pieces, one write each; yields where."""
    handlers = []

    async def answer(reader, writer):
        handlers.append(asyncio.current_task())
        while await reader.read(65536):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        try:
            yield Target(server.sockets[0].getsockname()[1])
        finally:
            await asyncio.gather(*filter(None, handlers))


@asynccontextmanager
async def connected(*pieces):
    async with served(*pieces) as target:
        connection = await Connection.open(target)
        try:
            yield connection
        finally:
            connection.close()


@pytest.mark.parametrize("host", ["10.0.0.1", "8.8.8.8"])
def test_a_target_is_refused_when_it_is_not_on_this_machine(host):
    with pytest.raises(AssertionError):
        Target(80, host)


def test_a_connection_is_used_again_when_an_answer_is_complete():
    async def twice():
        async with connected(OK) as connection:
            return [await connection.post("/", {}, {}) for _ in range(2)]

    assert asyncio.run(twice()) == [b"{}", b"{}"]


def test_an_error_is_raised_when_the_server_refuses():
    refusal = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"

    async def refused():
        async with connected(refusal) as connection:
            await connection.post("/", {}, {})

    with pytest.raises(RuntimeError, match="429"):
        asyncio.run(refused())


def test_the_first_text_is_found_when_its_mark_is_cut_in_two():
    pieces = (STREAM, b"6\r\nevent:\r\n", b"d\r\n answer.delta\r\n", b"0\r\n\r\n")

    async def first():
        async with connected(*pieces) as connection:
            return await connection.first_text_s("/", {}, {}, b"delta")

    assert asyncio.run(first()) > 0


def test_a_stream_without_text_is_an_error():
    async def first():
        async with connected(STREAM + b"0\r\n\r\n") as connection:
            return await connection.first_text_s("/", {}, {}, b"delta")

    with pytest.raises(RuntimeError, match="delta"):
        asyncio.run(first())


def test_warm_up_requests_are_not_timed():
    calls = []

    async def one(_, number):
        calls.append(number)

    async def run():
        async with served() as target:
            return await in_turn(target, one, requests=3)

    assert len(asyncio.run(run()).seconds) == 3
    assert calls[-3:] == [0, 1, 2]
    assert len(calls) > 3


def test_processor_time_is_shared_among_the_requests_between_two_samples():
    measured = Measured(seconds=[0.1] * 10)

    complete(measured, Sample(0.0, {"api": 1.0}, 5.0), Sample(2.0, {"api": 1.5}, 6.5))

    assert measured.per_second == 5
    assert measured.cpu_ms == {"api": 50.0}
    assert measured.others_cores == 0.5
