"""A server's TLS, ended in front of it."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from ops.certificates import Certificates


def make_certificates(folder: Path) -> Certificates:
    """Make the certificates, or skip the test where there is no openssl."""
    if shutil.which("openssl") is None and os.environ.get("CI") != "true":
        pytest.skip("There is no openssl.")
    return Certificates(folder)


class TlsProxy:
    """Accepts TLS on a free port and passes what it carries to a plain server.

    Args:
        asks_client: a client has to show a certificate that the authority has signed.
    """

    def __init__(self, port: int, certificates: Certificates, *, asks_client: bool = False) -> None:
        self._target = ("127.0.0.1", port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.own, certificates.key)
        if asks_client:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(certificates.authority)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            inside = self._context.wrap_socket(client, server_side=True)
            with inside, socket.create_connection(self._target) as server:
                back = threading.Thread(target=_pump, args=(server, inside), daemon=True)
                back.start()
                _pump(inside, server)
                back.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
