"""Webhooks: where the end of a job is told, whom we call, and when a delivery is tried again."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from core.jobs import JobStatus
from core.webhook_errors import InvalidWebhook, WebhookNotHttps, WebhookNotPublic

MOST_URL_CHARS: Final = 2_048
_HTTPS_PORT: Final = 443
#: A delivery that nobody took within so long is dead.
TRIED_FOR_MS: Final = 24 * 3600 * 1000
#: Seconds before the second, third, … attempt; the last one stands for all further ones.
_PAUSES_S: Final = (5, 30, 120, 600, 1800, 3600, 7200)
_MOST_ASKED_S: Final = 3600
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
#: Names that mean this machine or this network wherever they are looked up.
_INSIDE: Final = ("localhost", "local", "internal", "localdomain", "home.arpa")
#: IPv6 addresses that stand for an IPv4 address, and where in them it begins, in bits from the end.
_EMBEDDED: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("64:ff9b:1::/48"), 0),
    (IPv6Network("2002::/16"), 80),
)
#: Of protocols and relays, and Teredo's, which hides an IPv4 address.
_NEVER: Final = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/32"),
    IPv6Network("fec0::/10"),
)

DeliveryStatus = Literal["pending", "delivered", "dead"]
Address = IPv4Address | IPv6Address


class Delivery(Struct, frozen=True, kw_only=True):
    """One message to a webhook; times are Unix milliseconds.

    Attributes:
        id: `msg_…`; the same in all attempts, by which a receiver knows a repeat.
        attempts: how often it was tried.
        due_ms: when it is tried next, while it is pending.
        since_ms: when it was begun, or sent again by its user; tried for a day from then on.
        response_status: of the latest answer, if there was one.
        error: what kept the latest attempt from its end; none after a delivery.
    """

    id: str
    user_id: str
    job_id: str
    url: str
    type: str
    status: DeliveryStatus
    attempts: int
    created_ms: int
    since_ms: int
    due_ms: int | None = None
    finished_ms: int | None = None
    response_status: int | None = None
    error: str | None = None

    @property
    def host(self) -> str:
        """The receiver: its name and port, however the URL spells them."""
        parts = urlsplit(self.url)
        return f"{(parts.hostname or '').removesuffix('.')}:{parts.port or _HTTPS_PORT}"


def event_of(status: JobStatus) -> str:
    """Return the type of the message that a job ended so."""
    return f"job.{status.value}"


def message_id(job_id: str) -> str:
    """Return the id of the message about a job's end, the same whoever makes it."""
    return f"msg_{job_id.removeprefix('job_')}"


def next_try_ms(delivery: Delivery, now_ms: int, *, asked_s: float | None = None) -> int | None:
    """Return when a delivery whose attempt has just failed is tried again; None for never.

    Args:
        delivery: with that attempt counted.
        asked_s: what the receiver's Retry-After says; up to an hour is granted.
    """
    pause_s = _PAUSES_S[min(delivery.attempts, len(_PAUSES_S)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311
    if asked_s is not None:
        pause_s = max(pause_s, min(asked_s, _MOST_ASKED_S))
    at_ms = now_ms + round(pause_s * 1000)
    return at_ms if at_ms < delivery.since_ms + TRIED_FOR_MS else None


class Reachable:
    """Which hosts and addresses may be called.

    Args:
        allowed: names of hosts, and addresses or networks, that may although they are not public.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks = []
        for text in allowed:
            try:
                self._networks.append(ip_network(text, strict=False))
            except ValueError:
                self._names.add(text.lower())

    def check_url(self, url: str) -> str:
        """Return the URL if it may be a webhook, as far as can be seen without looking it up.

        Raises:
            InvalidWebhook: it is none, or holds a user or a password.
            WebhookNotHttps: it is another scheme's.
            WebhookNotPublic: its host is an address or a name of this machine or network.
        """
        parts = _split(url)
        if parts.scheme.lower() != "https":
            raise WebhookNotHttps(field="webhook")
        if parts.port == 0 or not parts.hostname:
            raise InvalidWebhook(field="webhook")
        if parts.username is not None or parts.password is not None:
            raise InvalidWebhook("`webhook` must not hold a user or password.", field="webhook")
        host = parts.hostname.removesuffix(".")
        address = _to_address(host)
        if address is None and not _is_name(host):
            raise InvalidWebhook(field="webhook")
        if not (self.allows(host, address) if address else self._allows_name(host)):
            raise WebhookNotPublic(field="webhook")
        return url

    def allows(self, host: str, address: Address) -> bool:
        """Say whether an address may be called to which the name of a host was resolved."""
        if host.lower() in self._names or any(address in network for network in self._networks):
            return True
        return is_public(address)

    def _allows_name(self, host: str) -> bool:
        labels = host.lower().split(".")
        ends = (".".join(labels[-count:]) for count in (1, 2))
        return host.lower() in self._names or (
            len(labels) > 1 and not any(end in _INSIDE for end in ends)
        )


def is_public(address: Address) -> bool:
    """Say whether an address is one of the internet, and so is the one that it stands for."""
    if isinstance(address, IPv6Address):
        for network, shift in _EMBEDDED:
            if address in network:
                return is_public(IPv4Address((int(address) >> shift) & 0xFFFFFFFF))
        if address.scope_id:
            return False
    if any(address in network for network in _NEVER):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _split(url: str) -> SplitResult:
    # Whoever parses a URL in another way must not find another host in it.
    if len(url) > MOST_URL_CHARS or not url.isprintable() or not url.isascii():
        raise InvalidWebhook(
            f"`webhook` must have at most {MOST_URL_CHARS} printable ASCII characters.",
            field="webhook",
        )
    if any(character in url for character in ' \\"<>^`{|}'):
        raise InvalidWebhook(
            "`webhook` must have blanks, backslashes, quotes and brackets as %20 and so on.",
            field="webhook",
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidWebhook(field="webhook") from None
    return parts


def _to_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    """Say whether it is a name; one that ends with a number is an address in another spelling."""
    labels = host.split(".")
    is_number = re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]) is not None
    return len(host) <= 253 and not is_number and all(map(_LABEL.fullmatch, labels))
