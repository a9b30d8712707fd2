"""Passwords: argon2id on native threads, two at a time."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from gevent import get_hub, monkey

from core.errors import ServiceUnavailable

Result = TypeVar("Result")

#: Each hash takes a core for some 30 to 60 ms and 19 MiB.
_AT_ONCE: Final = 2
#: A login that waits longer is refused with `Retry-After`.
_LONGEST_WAIT_S: Final = 5.0
_FEWEST_DIFFERENT_CHARACTERS: Final = 5
_MIN_CHARS: Final = 8
_MAX_CHARS: Final = 128


def normalised(password: str) -> str:
    """Return the password in the form that is hashed: NFKC (NIST SP 800-63B, section 3.1.1.2).

    One keyboard sends é as one character, another as e and an accent.
    """
    return unicodedata.normalize("NFKC", password)


def problem_of(password: str, email: str = "") -> str | None:
    """Return why this must not be an account's password, as a sentence about the field goes on.

    Args:
        password: as `normalised` returns it.
        email: the account's, where it is known.
    """
    if len(password) < _MIN_CHARS:
        return f"must be at least {_MIN_CHARS} characters long"
    if len(password) > _MAX_CHARS:
        return f"must be at most {_MAX_CHARS} characters long"
    if is_easy_to_guess(password, email):
        return "is too easy to guess; choose a longer or less common one"
    return None


def is_easy_to_guess(password: str, email: str) -> bool:
    """Say whether the password is common, nearly one character repeated, or the address itself."""
    plain, address = password.lower(), email.lower()
    return (
        plain in _common_passwords()
        or len(set(plain)) < _FEWEST_DIFFERENT_CHARACTERS
        or plain in {address, address.partition("@")[0]}
    )


@cache
def _common_passwords() -> frozenset[str]:
    """Return the passwords that attackers try first, in lower case."""
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text().split())


class Passwords:
    """Hashes and checks passwords; raises ServiceUnavailable when a call waited for 5 s."""

    def __init__(self) -> None:
        # OWASP's minimum for argon2id (Password Storage Cheat Sheet): m=19 MiB, t=2, p=1.
        self._hasher = PasswordHasher(
            time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID
        )
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def hash(self, password: str) -> str:
        with self._slot():
            return _off_the_hub(self._hasher.hash, password)

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Say whether the password is right; False after the same work when there is no hash."""
        with self._slot():
            is_right = _off_the_hub(self._check, password_hash or self._decoy_hash, password)
        return is_right and password_hash is not None

    def verify_typed(self, password_hash: str, typed: str) -> bool:
        """Say whether what was typed is right, also by a hash of before passwords were normalised.

        Work is done once more for a password that normalising changes.
        """
        password = normalised(typed)
        return self.verify(password_hash, password) or (
            typed != password and self.verify(password_hash, typed)
        )

    def needs_rehash(self, password_hash: str) -> bool:
        """Say whether the hash was made with other parameters than the current ones."""
        return self._hasher.check_needs_rehash(password_hash)

    @cached_property
    def _decoy_hash(self) -> str:
        return self._hasher.hash(secrets.token_hex())

    def _check(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=_LONGEST_WAIT_S):
            raise ServiceUnavailable("Too many logins are being checked at once; try again.")
        try:
            yield
        finally:
            self._slots.release()


def _off_the_hub(work: Callable[..., Result], *args: Any) -> Result:
    """Run the work on a native thread under gevent, so that other greenlets go on."""
    if not monkey.is_module_patched("threading"):
        return work(*args)
    result: Result = get_hub().threadpool.apply(work, args)
    return result
