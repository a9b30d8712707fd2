"""The proxy that tests put between a client and its server."""

from __future__ import annotations

import socket
import socketserver
import threading

import pytest

from tests.services import wait_until
from tests.tcp_proxy import TcpProxy


class EchoServer(socketserver.ThreadingTCPServer):
    """Answers every byte with itself, and notes what it got and how connections ended."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), None)
        self.received = bytearray()
        self.ends = []

    def finish_request(self, request, client_address):
        try:
            while piece := request.recv(65536):
                self.received += piece
                request.sendall(piece)
            self.ends.append("closed")
        except ConnectionError:
            self.ends.append("reset")


@pytest.fixture
def echo():
    with EchoServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo):
    with TcpProxy(echo.server_address[1]) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    """Return how a client connects through the proxy."""
    opened = []

    def connect():
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), 10))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def ask(client, text):
    """Send and return the answer of the same length."""
    threading.Thread(target=client.sendall, args=(text,)).start()
    answer = bytearray()
    while len(answer) < len(text):
        piece = client.recv(65536)
        assert piece, "the stream ended"
        answer += piece
    return bytes(answer)


def hears_nothing(client):
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(10)
    return True


def test_bytes_and_ends_pass_unchanged_when_nothing_is_broken(connect, echo, proxy):
    text = bytes(range(256)) * 4096
    client = connect()

    assert ask(client, text) == text

    client.close()
    wait_until(lambda: echo.ends == ["closed"], 10, "the end to be passed on")
    wait_until(lambda: proxy.connections == 0, 10, "the connection to be forgotten")


def test_client_is_refused_when_the_target_is_away():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with (
            TcpProxy(bound.getsockname()[1]) as proxy,
            pytest.raises(ConnectionResetError),
            socket.create_connection(("127.0.0.1", proxy.port), 10) as client,
        ):
            client.recv(1)


def test_answers_come_late_when_there_is_latency(connect, proxy):
    client = connect()
    ask(client, b"warm")
    proxy.latency_s = 1.0

    client.sendall(b"a")

    assert hears_nothing(client)
    assert client.recv(1) == b"a"


def test_both_sides_see_a_reset_and_new_clients_are_served_when_connections_are_reset(
    connect, echo, proxy
):
    client = connect()
    ask(client, b"hello")

    proxy.reset()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: echo.ends == ["reset"], 10, "the target to see it")
    assert ask(connect(), b"again") == b"again"


def test_bytes_vanish_and_connections_stay_when_there_is_a_black_hole(connect, echo, proxy):
    client = connect()
    ask(client, b"before")

    proxy.blackhole()
    client.sendall(b"lost")
    late = connect()
    assert hears_nothing(client)
    assert hears_nothing(late)
    proxy.heal()

    assert ask(client, b"after") == b"after"
    assert bytes(echo.received) == b"beforeafter"


def test_client_reads_the_end_and_can_still_write_when_half_closed(connect, echo, proxy):
    client = connect()
    ask(client, b"before")

    proxy.half_close()

    assert client.recv(1) == b""
    client.sendall(b"after")
    wait_until(lambda: bytes(echo.received) == b"beforeafter", 10, "what the client still sent")
    assert echo.ends == []
