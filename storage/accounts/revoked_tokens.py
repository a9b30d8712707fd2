"""Access tokens that were revoked before they expired, in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.ids import shard_of
from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis


class RevokedTokens:
    """The denylist of token and family ids; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, user_id: str, identifier: str, *, ttl_s: int) -> None:
        """Revoke a token, or every token of a family, for `ttl_s`: as long as one may live."""
        if ttl_s > 0:
            with coordinator_errors():
                self._redis.set(keys.revoked_token(shard_of(user_id), identifier), b"", ex=ttl_s)

    def contains_any(self, user_id: str, *identifiers: str) -> bool:
        """Say in one command whether any of the user's token or family ids is revoked."""
        shard = shard_of(user_id)
        with coordinator_errors():
            return bool(self._redis.exists(*(keys.revoked_token(shard, i) for i in identifiers)))
