"""Addresses and networks as settings name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


def read_networks(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the networks of a list with commas or blanks; an address is a network of one.

    Raises:
        ValueError: one is neither an address nor a network; every address cannot be trusted.
    """
    texts = given.replace(",", " ").split() if isinstance(given, str) else given
    return tuple(dict.fromkeys(_read_network(text) for text in texts))


def read_hosts(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of hosts, addresses and networks of a list with commas or blanks.

    Raises:
        ValueError: one is none of these; every address cannot be allowed.
    """
    texts = given.replace(",", " ").split() if isinstance(given, str) else given
    return tuple(dict.fromkeys(_read_host_or_network(text) for text in texts))


def _read_host_or_network(text: str) -> str:
    is_name = _NAME.fullmatch(text) is not None and not text.rpartition(".")[2].isdigit()
    return text.lower() if is_name else _read_network(text)


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
