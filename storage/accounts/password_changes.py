"""Changes of passwords: by the former password, or by a link that works once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pymongo import WriteConcern

from core.account_errors import InvalidResetToken, WrongPassword
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

    from storage.accounts.users import Accounts, User

#: How long a link for a new password works.
RESET_LIFE: Final = timedelta(hours=1)
_TOKEN_BYTES: Final = 32
_NO_LINK: Final = {"reset_hash": "", "reset_expires_at": ""}


class ResetTarget(Struct, frozen=True):
    """The account that a link gives a new password to."""

    user_id: str
    email: str


class PasswordChanges:
    """Sets passwords; each change voids every token of the account and any link for a new password.

    Raises StoreUnavailable when MongoDB does not answer in time. Other processes notice within ten
    seconds that tokens are void, unless their sessions are revoked, too.
    """

    def __init__(self, database: Database[dict[str, Any]], accounts: Accounts) -> None:
        self._users = database.get_collection("users", write_concern=WriteConcern("majority"))
        self._accounts = accounts

    def hash_of(self, user_id: str) -> str | None:
        """Return the hash of the account's password; None for one that has none."""
        with store_errors():
            found = self._users.find_one({"_id": user_id}, {"password_hash": 1})
        return found.get("password_hash") if found else None

    def change(self, user_id: str, former: str, renewed: str) -> User:
        """Replace the hash `former` by `renewed` and return the account.

        Raises:
            WrongPassword: it is not the account's any more.
        """
        as_read = {"_id": user_id, "password_hash": former}
        return self._accounts.change(as_read, _to(renewed), WrongPassword)

    def make_reset_token(self, user_id: str) -> tuple[str, int]:
        """Return the token of a new link, and until when it works, ms; the one before is void."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        until = datetime.now(UTC) + RESET_LIFE
        link = {"reset_hash": _hash(token), "reset_expires_at": until}
        with store_errors():
            self._users.update_one({"_id": user_id}, {"$set": link})
        return token, round(until.timestamp() * 1000)

    def find_reset(self, token: str) -> ResetTarget:
        """Return whom the link is for; nothing changes.

        Raises:
            InvalidResetToken: it is unknown, used, replaced or expired; the answer does not say.
        """
        with store_errors():
            found = self._users.find_one(_valid(token), {"email": 1})
        if found is None:
            raise InvalidResetToken
        return ResetTarget(found["_id"], found["email"])

    def reset(self, target: ResetTarget, token: str, password_hash: str) -> User:
        """Give the account another password and return it; of two concurrent calls one succeeds.

        Raises:
            InvalidResetToken: the link was used or has expired meanwhile.
        """
        linked = {"_id": target.user_id} | _valid(token)
        return self._accounts.change(linked, _to(password_hash), InvalidResetToken)


def _valid(token: str) -> dict[str, Any]:
    return {"reset_hash": _hash(token), "reset_expires_at": {"$gt": datetime.now(UTC)}}


def _to(password_hash: str) -> dict[str, Any]:
    return {
        "$set": {"password_hash": password_hash},
        "$inc": {"token_version": 1},
        "$unset": _NO_LINK,
    }


def _hash(token: str) -> str:
    """Hash without salt or stretching: a token has 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()
