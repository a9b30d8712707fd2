"""Networks as settings name them."""

from __future__ import annotations

import pytest

from core.forms.networks import read_networks


def test_addresses_and_networks_are_read_each_once():
    assert read_networks("10.1.2.3/8, 192.0.2.7 192.0.2.7") == ("10.0.0.0/8", "192.0.2.7/32")


@pytest.mark.parametrize("given", ["0.0.0.0/0", "::/0", "proxy", "10.0.0.0/33", "*"])
def test_what_is_no_network_or_every_address_is_refused(given):
    with pytest.raises(ValueError, match="addresses or networks"):
        read_networks(given)
