"""The proxy that fault tests put between a client and its server."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.services import wait_until
from tests.tcp_proxy import TcpProxy


class EchoServer:
    """Answers every byte with itself, and notes all it was sent."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received = bytearray()
        self.has_seen_end = threading.Event()
        self.breaks = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(peer,), daemon=True).start()

    def _echo(self, peer):
        with peer:
            try:
                while piece := peer.recv(65536):
                    self.received += piece
                    peer.sendall(piece)
                self.has_seen_end.set()
            except ConnectionError as error:
                self.breaks.append(error)


@pytest.fixture
def echo():
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(echo):
    with TcpProxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    """Return how a client connects through the proxy."""
    opened = []

    def connect(timeout_s=5.0):
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout_s)
        opened.append(client)
        return client

    yield connect
    for client in opened:
        client.close()


def ask(client, text):
    """Send and return the answer of the same length."""
    client.sendall(text)
    answer = b""
    while len(answer) < len(text):
        piece = client.recv(65536)
        assert piece, "the stream ended"
        answer += piece
    return answer


def took_s(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_bytes_pass_unchanged_when_nothing_is_broken(connect):
    text = bytes(range(256)) * 4096

    client = connect()
    client.settimeout(10)
    writer = threading.Thread(target=client.sendall, args=(text,))
    writer.start()
    answer = bytearray()
    while len(answer) < len(text):
        answer += client.recv(65536)
    writer.join()

    assert bytes(answer) == text


def test_end_of_a_stream_is_passed_on_when_a_client_hangs_up(connect, echo, proxy):
    client = connect()
    ask(client, b"hello")

    client.close()

    assert echo.has_seen_end.wait(5)
    wait_until(lambda: proxy.connections == 0, 5, "the connection to be forgotten")


def test_client_is_refused_when_the_target_is_away():
    with socket.socket() as deaf:
        # Bound, so that nobody gets its port, and not listening.
        deaf.bind(("127.0.0.1", 0))
        with (
            TcpProxy(deaf.getsockname()[1]) as proxy,
            pytest.raises(ConnectionResetError),
            socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
        ):
            client.recv(1)


def test_every_piece_waits_both_ways_when_there_is_latency(connect, proxy):
    client = connect()
    ask(client, b"warm")

    proxy.latency_s = 0.1

    assert took_s(lambda: ask(client, b"a")) >= 0.2


def test_both_sides_see_a_reset_when_connections_are_reset(connect, echo, proxy):
    clients = [connect(), connect()]
    for client in clients:
        ask(client, b"hello")

    proxy.reset()

    for client in clients:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    wait_until(lambda: len(echo.breaks) == 2, 5, "the target to see both resets")
    assert {type(error) for error in echo.breaks} == {ConnectionResetError}
    assert ask(connect(), b"again") == b"again"


def test_bytes_vanish_and_connections_stay_when_there_is_a_black_hole(connect, echo, proxy):
    client = connect()
    ask(client, b"before")
    client.settimeout(0.2)

    proxy.blackhole()
    client.sendall(b"lost")
    with pytest.raises(TimeoutError):
        client.recv(1)
    proxy.heal()

    client.settimeout(5)
    assert ask(client, b"after") == b"after"
    assert bytes(echo.received) == b"beforeafter"


def test_new_clients_connect_and_hear_nothing_when_there_is_a_black_hole(connect, proxy):
    proxy.blackhole()

    client = connect(timeout_s=0.2)
    client.sendall(b"hello")

    with pytest.raises(TimeoutError):
        client.recv(1)


def test_client_hears_the_end_and_still_speaks_when_half_closed(connect, echo, proxy):
    client = connect()
    ask(client, b"before")

    proxy.half_close()

    assert client.recv(1) == b""
    client.sendall(b"after")
    wait_until(lambda: bytes(echo.received) == b"beforeafter", 5, "what the client still sent")
    assert not echo.has_seen_end.is_set()


def test_bytes_trickle_when_throttled(connect, proxy):
    client = connect()
    ask(client, b"warm")

    proxy.throttle(10_000)
    slow_s = took_s(lambda: ask(client, b"x" * 5_000))
    proxy.throttle(None)
    answer = ask(client, b"y" * 1_000_000)

    assert slow_s >= 0.5
    assert answer == b"y" * 1_000_000
