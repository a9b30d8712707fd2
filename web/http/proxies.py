"""Whose request it is where trusted proxies stand in front of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ClientAddress:
    """A WSGI layer that sets REMOTE_ADDR to the client's own address.

    `X-Forwarded-For` is read from its end, where the nearest proxy wrote, as long as each address
    is a trusted proxy's: the first other one is the client's. What an untrusted client sends in the
    header is never believed.
    """

    def __init__(self, app: _Wsgi, trusted: Iterable[str]) -> None:
        self._app = app
        self._trusted = [ip_network(network) for network in trusted]
        self._is_trusted = lru_cache(maxsize=4096)(self._look_up)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        environ["REMOTE_ADDR"] = self.find(
            environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
        )
        return self._app(environ, start_response)

    def find(self, peer: str, forwarded: str) -> str:
        """Return the client's address.

        Args:
            peer: who opened the connection.
            forwarded: what the request's `X-Forwarded-For` headers say, joined by commas.
        """
        client = peer
        for hop in reversed(forwarded.split(",")):
            if not self._is_trusted(client) or not hop.strip():
                break
            client = hop.strip()
        return client

    def _look_up(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)
