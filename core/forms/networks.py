"""Addresses and networks as settings name them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network


def read_networks(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the networks of a list with commas or blanks; an address is a network of one.

    Raises:
        ValueError: one is neither an address nor a network; every address cannot be trusted.
    """
    texts = given.replace(",", " ").split() if isinstance(given, str) else given
    return tuple(dict.fromkeys(_read_network(text) for text in texts))


def _read_network(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or network.prefixlen == 0:
        raise ValueError(
            "must be addresses or networks such as 192.0.2.7 or 10.0.0.0/8, separated by commas; "
            "all addresses (/0) cannot be trusted"
        )
    return str(network)
