"""What of a user is found anywhere in Redis and MongoDB."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis


def redis_contents(redis: Redis) -> dict[str, str]:
    """Return what each key of Aether holds, as text, without what changes by time alone."""
    return {name.decode(): _content(redis, name) for name in sorted(redis.scan_iter("aether:*"))}


def _content(redis: Redis, name: bytes) -> str:
    read: dict[bytes, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": lambda key: sorted(redis.smembers(key)),
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }
    return str(read[redis.type(name)](name))


def traces_in_redis(redis: Redis, ids: Collection[str]) -> dict[str, str]:
    """Return the keys that are named after one of the ids, or hold one."""
    return {
        name: content
        for name, content in redis_contents(redis).items()
        if any(identifier in name or identifier in content for identifier in ids)
    }


def traces_in_mongo(
    database: Database[dict[str, Any]], ids: Collection[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return by collection the documents that have one of the ids anywhere."""
    found = {
        name: [
            document
            for document in database[name].find().sort("_id", 1)
            if any(identifier in str(document) for identifier in ids)
        ]
        for name in sorted(database.list_collection_names())
    }
    return {name: documents for name, documents in found.items() if documents}
