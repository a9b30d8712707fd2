"""The secrets by which the cache names what it keeps for one user alone."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from pymongo import WriteConcern

from core.account_errors import UserNotFound
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database


def new_cache_secret() -> str:
    """Return 256 random bits as hexadecimal digits."""
    return secrets.token_hex(32)


class CacheSecrets:
    """Each account's secret; raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._users = database.get_collection("users", write_concern=WriteConcern("majority"))

    def of(self, user_id: str, known: str) -> str:
        """Return the account's secret; make it for an account of before, once for all processes.

        Args:
            known: what was read with the account; empty where it had none.

        Raises:
            UserNotFound: the account is gone.
        """
        if known:
            return known
        without = {"_id": user_id, "cache_secret": {"$exists": False}}
        with store_errors():
            self._users.update_one(without, {"$set": {"cache_secret": new_cache_secret()}})
            # Another process may have been first: what is stored counts.
            document = self._users.find_one({"_id": user_id}, {"cache_secret": 1})
        if document is None:
            raise UserNotFound
        return str(document["cache_secret"])
