"""Whose request it is, behind proxies and without."""

from __future__ import annotations

import pytest

from web.http.proxies import ClientAddress

TRUSTED = ClientAddress(None, ["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("10.0.0.1", "10.1.1.1, 10.9.9.9", "10.1.1.1"),
        ("10.0.0.1", "unknown, 10.9.9.9", "unknown"),
        ("2001:db8::1", "2001:beef::7", "2001:beef::7"),
        ("", "203.0.113.5", ""),
    ],
)
def test_the_client_is_the_first_address_that_no_trusted_proxy_has(peer, forwarded, client):
    assert TRUSTED.find(peer, forwarded) == client
