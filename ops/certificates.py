"""Certificates for one run on this machine, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ops.stack.state import CannotRun


class Certificates:
    """An authority and a certificate for 127.0.0.1 and localhost that it has signed, as PEM files.

    Raises:
        CannotRun: there is no openssl.
    """

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


def _run(*words: object) -> None:
    if shutil.which("openssl") is None:
        raise CannotRun("There is no openssl, which makes the certificates.")
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=60)
