"""Access tokens that were revoked before they expired, in Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from core.ids import shard_of
from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis


#: In the place of an id: since when the shard's list is whole, Unix seconds.
_SINCE: Final = "since"


class RevokedTokens:
    """The denylist of token and family ids; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, user_id: str, identifier: str, *, ttl_s: int) -> None:
        """Revoke a token, or every token of a family, for `ttl_s`: as long as one may live."""
        if ttl_s > 0:
            with coordinator_errors():
                self._redis.set(keys.revoked_token(shard_of(user_id), identifier), b"", ex=ttl_s)

    def contains_any(self, user_id: str, *identifiers: str, issued_s: int) -> bool | None:
        """Say in one command whether any of the user's token or family ids is revoked.

        Args:
            issued_s: when the token was issued, Unix seconds.

        Returns:
            None when the list is younger than the token, because Redis has lost it since: then only
            the session in MongoDB tells.
        """
        shard = shard_of(user_id)
        names = [_SINCE, *identifiers]
        with coordinator_errors():
            found: Any = self._redis.mget([keys.revoked_token(shard, name) for name in names])
            since, *revoked = found
            if since is None:
                since = b"%d" % time.time()
                self._redis.set(keys.revoked_token(shard, _SINCE), since, nx=True)
        if any(value is not None for value in revoked):
            return True
        return None if issued_s < int(since) else False
