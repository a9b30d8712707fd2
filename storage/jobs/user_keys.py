"""What Redis holds of a user and his jobs, for the export and the deletion of his account."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from core.ids import shard_of
from core.jobs import TERMINAL
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs.exchanges import Exchange, read_conversation

if TYPE_CHECKING:
    from redis import Redis

#: The first one in a key's name is whose key it is: what a user names himself stands behind it.
_USER_ID: Final = re.compile(rb"usr_[0-9a-f]{32}")
_AT_ONCE: Final = 1_000
#: The classes of `storage/lua/lines.lua`: interactive work and batches.
_CLASSES: Final = ("i", "b")


class UserKeys:
    """Finds and removes keys by their user; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def conversation(self, user_id: str, conversation_id: str) -> list[Exchange]:
        """Return what is remembered of a conversation, oldest first."""
        return read_conversation(self._redis, user_id, conversation_id)

    def unfinished(self, user_id: str) -> list[str]:
        """Return the ids of the user's jobs that have not ended, whichever version wrote them."""
        with coordinator_errors():
            members: Any = self._redis.zrange(keys.active(user_id), 0, -1)
            job_ids = [member.decode() for member in members]
            with self._redis.pipeline(transaction=False) as pipe:
                for job_id in job_ids:
                    pipe.hget(keys.job(job_id), "status")
                found = pipe.execute()
        return [
            job_id
            for job_id, status in zip(job_ids, found, strict=True)
            if status is not None and status.decode() not in TERMINAL
        ]

    def has_end_to_record(self, user_id: str) -> bool:
        """Say whether an end of one of the user's jobs may still wait to be written to MongoDB."""
        with coordinator_errors():
            stream = keys.records(shard_of(user_id))
            entries: Any = self._redis.xrange(stream, count=_AT_ONCE)
            with self._redis.pipeline(transaction=False) as pipe:
                for _, fields in entries:
                    pipe.hget(keys.job(fields.get(b"id", b"job_0").decode()), "spec")
                specs = pipe.execute()
        # So many entries wait only while MongoDB is behind; which they are is seen when it is not.
        is_behind = len(entries) == _AT_ONCE
        return is_behind or any(spec is not None and user_id.encode() in spec for spec in specs)

    def forget_jobs(
        self, user_id: str, job_ids: Sequence[str], conversation_ids: Collection[str]
    ) -> None:
        """Remove ended jobs of the user, their events, and conversations; a repeat does nothing."""
        names = [keys.conversation(user_id, name) for name in conversation_ids]
        for job_id in job_ids:
            names += keys.of_script(job_id)
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.unlink(*names)
            for index in (keys.WATCH, keys.DEFERRED, keys.EXPIRING):
                pipe.zrem(index, *job_ids)
            pipe.execute()

    def forget_users(self, user_ids: Sequence[str]) -> None:
        """Remove every key that is named after one of the users, and their shares of the starts.

        Goes through all keys of Redis once, whatever the number of users is.
        """
        wanted = {user_id.encode() for user_id in user_ids}
        with coordinator_errors():
            names = self._named_after(wanted)
            while found := list(islice(names, _AT_ONCE)):
                self._redis.unlink(*found)
            with self._redis.pipeline(transaction=False) as pipe:
                for kind in _CLASSES:
                    pipe.zrem(f"{keys.LINES}shares:{kind}", *wanted)
                pipe.execute()

    def _named_after(self, user_ids: Collection[bytes]) -> Iterator[bytes]:
        for name in self._redis.scan_iter("aether:*usr_*", count=_AT_ONCE):
            owner = _USER_ID.search(name)
            if owner is not None and owner[0] in user_ids:
                yield name
