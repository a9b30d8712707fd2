"""How a provider is reached: by which proxy, and under which path."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx

#: The SDK's own path, and that of servers which speak the protocol without Groq's prefix.
_OF_SDK: Final = "/openai/v1"
_PLAIN: Final = "/v1"
_PROXY_SCHEMES: Final = ("http", "https")


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment names for an address; None for a direct connection.

    `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`, in either case, and `NO_PROXY` with names, their
    domains, ports, addresses and networks. This machine is never asked for by a proxy.

    Raises:
        ValueError: the proxy is of a kind that is not supported, such as SOCKS.
    """
    target = urlsplit(url)
    given = {name.upper(): value.strip() for name, value in environment.items() if value.strip()}
    # A server that runs as CGI has HTTP_PROXY from a header of the request; nobody else has.
    proxy = given.get(f"{target.scheme.upper()}_PROXY") or given.get("ALL_PROXY")
    if not proxy or _is_excepted(target, given.get("NO_PROXY", "")):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    parts = urlsplit(proxy)
    if parts.scheme not in _PROXY_SCHEMES or not parts.hostname:
        raise ValueError(f"A proxy must be http://host:port or https://…, not {parts.scheme}://")
    return proxy


def _is_excepted(target: SplitResult, no_proxy: str) -> bool:
    host = (target.hostname or "").rstrip(".")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    port = target.port or {"http": 80, "https": 443}.get(target.scheme)
    return any(_matches(entry, host, address, port) for entry in no_proxy.lower().split(","))


def _matches(entry: str, host: str, address: _Address | None, port: int | None) -> bool:
    entry = entry.strip()
    name, _, wanted_port = entry.rpartition(":")
    if name and wanted_port.isdigit() and "/" not in entry and _address(entry) is None:
        if int(wanted_port) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").lstrip(".") if entry != "*" else entry
    if address is not None:
        try:
            return entry == "*" or address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    return entry == "*" or (bool(entry) and (host == entry or host.endswith(f".{entry}")))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


class ApiPath(httpx.BaseTransport):
    """Finds the path under which a server has its API, and sends every request there.

    Without a path in its address, a server is asked under `/openai/v1` and, where it knows nothing
    there, under `/v1`; what it knows first is kept.

    Args:
        inner: sends the requests.
        path: of the address in the settings; empty where it has none.
    """

    def __init__(self, inner: httpx.BaseTransport, path: str) -> None:
        self._inner = inner
        self._known = path or None
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._known is not None:
            return self._inner.handle_request(_under(request, self._known))
        first = self._inner.handle_request(_under(request, _OF_SDK))
        if first.status_code != httpx.codes.NOT_FOUND:
            return self._kept(_OF_SDK, first)
        first.read()
        second = self._inner.handle_request(_under(request, _PLAIN))
        if second.status_code != httpx.codes.NOT_FOUND:
            return self._kept(_PLAIN, second)
        second.close()
        return first

    def close(self) -> None:
        self._inner.close()

    def _kept(self, path: str, response: httpx.Response) -> httpx.Response:
        # An error of a proxy or a gateway says nothing of the path.
        if response.is_success:
            with self._lock:
                self._known = path
        return response


def _under(request: httpx.Request, path: str) -> httpx.Request:
    """Return the request with another beginning of its path."""
    raw = request.url.raw_path.decode("ascii")
    rest = raw[raw.index(_OF_SDK) + len(_OF_SDK) :]
    return httpx.Request(
        request.method,
        request.url.copy_with(raw_path=(path + rest).encode("ascii")),
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions,
    )
