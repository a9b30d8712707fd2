"""Origins of web pages (RFC 6454) as settings name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def read_origins(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the origins of a list with commas or blanks, each as a browser sends it.

    Raises:
        ValueError: one is not scheme, host and port alone; `*` and `null` would be every page.
    """
    texts = given.replace(",", " ").split() if isinstance(given, str) else given
    return tuple(dict.fromkeys(_read_origin(text) for text in texts))


def _read_origin(text: str) -> str:
    parts = urlsplit(text)
    is_origin = (
        parts.scheme in _DEFAULT_PORTS
        and parts.hostname
        and parts.path in ("", "/")
        and not (parts.query or parts.fragment or parts.username or parts.password)
        and "*" not in text
        and text.isascii()
    )
    if not is_origin:
        raise ValueError(
            "must be origins such as https://app.example.com or http://localhost:3000, "
            "separated by commas, without paths; every page (*) cannot be allowed"
        )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    port = parts.port
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"
