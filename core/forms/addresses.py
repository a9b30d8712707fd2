"""Hosts and URLs as providers' pages, manifests and people write them."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_REDIS: Final = ("redis", "rediss")
_AMQP: Final = ("amqp", "amqps", "pyamqp")
_LOCAL_NAMES: Final = ("localhost", "host.docker.internal")
#: What providers' pages show behind the part of an address that does not change.
_ENDPOINTS: Final = ("/chat/completions", "/completions", "/models", "/responses", "/embeddings")


def read_host(text: str) -> str:
    """Return a name or an address to listen on; brackets around IPv6 go.

    Raises:
        ValueError: it is neither; it may hold a scheme or a port.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not (_is_address(bare) or _NAME.fullmatch(bare)):
        raise ValueError("must be a host name or an IP address alone, without scheme and port")
    return bare


def read_redis_url(text: str) -> str:
    """Return the address of a Redis: redis://, rediss:// (TLS) or unix:///path?db=0.

    Raises:
        ValueError: it is none, with what is right.
    """
    return _read_server(text, _REDIS)


def read_broker_url(text: str) -> str:
    """Return the address of a broker: as `read_redis_url`, or amqp:// and amqps:// (RabbitMQ).

    Raises:
        ValueError: it is none, with what is right.
    """
    return _read_server(text, (*_REDIS, *_AMQP))


def read_mongo_url(text: str) -> str:
    """Return the address of a MongoDB.

    Raises:
        ValueError: it is none, with what is right.
    """
    scheme, mark, rest = text.partition("://")
    if scheme.lower() not in ("mongodb", "mongodb+srv") or not mark:
        raise ValueError("must begin with mongodb:// or mongodb+srv:// and name a host")
    before_path = re.split(r"[/?]", rest, maxsplit=1)[0]
    if not before_path.rpartition("@")[2]:
        raise ValueError("must name a host, as in mongodb://host:27017")
    if re.search(r"\s", text) or "#" in text:
        raise ValueError("must have blanks and # in its password as %20 and %23")
    return f"{scheme.lower()}://{rest}"


def read_llm_url(text: str) -> str:
    """Return a provider's address as scheme, host and, where it was given, the path of its API.

    `http://host`, `http://host/openai/v1/chat/completions` and `https://host/api/v1/` are all
    taken; a host without a scheme is http where it is this machine.

    Raises:
        ValueError: it is no such address, with what is right.
    """
    parts = _split(text if "://" in text else f"http://{text}")
    if "://" not in text and not _is_local(parts):
        raise ValueError(f"must begin with https:// or http://, as in https://{parts.netloc}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and name a host")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password; the key belongs in GROQ_API_KEY")
    if parts.query or parts.fragment:
        raise ValueError("must end with the host or the path of the API, without ? and #")
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        path = path.removesuffix(endpoint).rstrip("/")
    # The default, and the SDK's own.
    path = path.removesuffix("/openai/v1")
    return urlunsplit((parts.scheme, parts.netloc.lower(), path, "", ""))


def read_public_url(text: str) -> str:
    """Return where people reach Aether, without a slash at its end.

    Raises:
        ValueError: it is no address that a browser can be sent to, with what is right.
    """
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and name a host")
    if parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be scheme, host and port alone, as in https://aether.example.com")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def read_proxy_url(text: str) -> str:
    """Return the address of a proxy of HTTP.

    Raises:
        ValueError: it is none, with what is right.
    """
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end with the host or its port, as in http://proxy:3128")
    return f"{parts.scheme}://{parts.netloc}"


def _read_server(text: str, schemes: tuple[str, ...]) -> str:
    wanted = ", ".join(f"{scheme}://" for scheme in (*schemes, "unix"))
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme in ("socket", "redis+socket"):
        raise ValueError("must be written unix:///path/of/the.socket?db=0")
    if not mark or scheme not in (*schemes, "unix"):
        raise ValueError(f"must begin with {wanted}, as in redis://host:6379/0")
    return _read_socket(rest) if scheme == "unix" else _read_tcp(f"{scheme}://{rest}")


def _read_socket(rest: str) -> str:
    if not rest.rpartition("@")[2].startswith("/"):
        raise ValueError("must name the socket's whole path, as in unix:///run/redis.sock?db=0")
    return f"unix://{rest}"


def _read_tcp(url: str) -> str:
    if re.search(r"[#\s]", url):
        raise ValueError("must have #, / and blanks in its password as %23, %2F and %20")
    parts = _split(url)
    scheme = parts.scheme
    if not parts.hostname:
        raise ValueError(f"must name a host, as in {scheme}://host")
    if scheme in _REDIS and not re.fullmatch(r"/?|/\d{1,5}/?", parts.path):
        raise ValueError("must end with the number of the database, as in redis://host:6379/0")
    if "ssl_" in parts.query:
        raise ValueError("must not say how TLS is verified; AETHER_TLS_VERIFY and its kind do")
    path = parts.path.rstrip("/") if scheme in _REDIS else parts.path
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "must have a port from 1 to 65535 and IPv6 addresses in brackets"
        ) from None
    if parts.port == 0 or (parts.hostname and not _is_host(parts.hostname)):
        raise ValueError("must name a host and a port that can exist")
    return parts


def _is_host(name: str) -> bool:
    return _is_address(name) or _NAME.fullmatch(name) is not None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_local(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return host in _LOCAL_NAMES or (_is_address(host) and ipaddress.ip_address(host).is_private)
