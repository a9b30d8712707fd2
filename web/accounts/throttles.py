"""How often strangers may sign up, and guess passwords."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flask import request

from storage.limits.throttle import Bound
from web.services import current_services

#: Wrong passwords within 15 minutes: for one account from one address, for one account from all
#: addresses, from one address. The first keeps a stranger from locking somebody else out.
_OF_PAIR: Final = 10
_OF_ACCOUNT: Final = 100
_OF_ADDRESS: Final = 100


def require_login_tries(email: str) -> None:
    """Refuse a login, also with the right password, after too many wrong ones.

    Raises:
        TooManyTries: it says when to try again.
    """
    current_services().throttle.require(_logins(email))


def count_failed_login(email: str) -> None:
    """Count a wrong password."""
    current_services().throttle.count(_logins(email))


def count_sign_up() -> None:
    """Count a new account of this address.

    Raises:
        TooManyTries: it has made as many in the last minute as it may.
    """
    services = current_services()
    limit = services.settings.sign_ups_per_minute
    services.throttle.count([Bound("sign_ups", ("address", _address()), limit)])


def _logins(email: str) -> Sequence[Bound]:
    account, address = ("account", email.strip().lower()), ("address", _address())
    return [
        Bound("failed_logins", (*account, *address), _OF_PAIR),
        Bound("failed_logins", account, _OF_ACCOUNT),
        Bound("failed_logins", address, _OF_ADDRESS),
    ]


def _address() -> str:
    return request.remote_addr or ""
