"""A server's TLS, ended in front of it, and certificates made for a test by openssl."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest


class Certificates:
    """An authority and a certificate for 127.0.0.1 and localhost that it has signed."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "ca.pem"
        self.own = folder / "server.pem"
        self.key = folder / "server.key"
        self.own_with_key = folder / "both.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        ca_key = folder / "ca.key"
        _run(*make, "-subj", "/CN=Test CA", "-keyout", ca_key, "-out", self.authority)
        names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
        signed = ["-CA", self.authority, "-CAkey", ca_key, "-addext", names]
        _run(*make, "-subj", "/CN=server", *signed, "-keyout", self.key, "-out", self.own)
        self.own_with_key.write_text(self.own.read_text() + self.key.read_text())


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


def _run(*words: object) -> None:
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("There is no openssl.")
        pytest.skip("There is no openssl.")
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=60)
