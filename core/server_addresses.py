"""Addresses and TLS of servers as Celery and its parts spell them."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from core.settings import Settings


def celery_url(url: str) -> str:
    """Return a server's URL as Celery's broker and result backend take it.

    A socket is `unix:///path?db=1` everywhere else, and `redis+socket:///path?virtual_host=1` here.
    """
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = [("virtual_host" if name == "db" else name, v) for name, v in parse_qsl(parts.query)]
    return f"redis+socket://{parts.netloc}{parts.path}" + (f"?{urlencode(query)}" if query else "")


def redis_tls(url: str, settings: Settings) -> dict[str, Any]:
    """Return the options of a Redis connection with TLS; none for one without."""
    if not url.startswith("rediss://"):
        return {}
    return {
        "ssl_cert_reqs": "required" if settings.tls_verify else "none",
        "ssl_check_hostname": settings.tls_verify,
        "ssl_ca_certs": _path(settings.redis_tls_ca_file),
        "ssl_certfile": _path(settings.redis_tls_cert_file),
        "ssl_keyfile": _path(settings.redis_tls_key_file),
    }


def broker_tls(url: str, settings: Settings) -> dict[str, Any] | None:
    """Return Celery's `broker_use_ssl`; None for a broker without TLS."""
    if not url.startswith("amqps://"):
        return redis_tls(url, settings) or None
    return {
        "cert_reqs": ssl.CERT_REQUIRED if settings.tls_verify else ssl.CERT_NONE,
        "ca_certs": _path(settings.redis_tls_ca_file) or ssl.get_default_verify_paths().cafile,
        "certfile": _path(settings.redis_tls_cert_file),
        "keyfile": _path(settings.redis_tls_key_file),
        "server_hostname": urlsplit(url).hostname,
    }


def _path(file: object | None) -> str | None:
    return None if file is None else str(file)
