"""Clients of MongoDB and Redis, with pools and a limit on every wait.

Nothing connects before a client's first command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.server_addresses import redis_tls
from storage.observed import ObservedMongo, ObservedRedis

if TYPE_CHECKING:
    from pydantic import SecretStr
    from pymongo.database import Database

    from core.settings import Settings
    from storage.observed import Observe

_PROBE_TIMEOUT_S: Final = 1.0
#: Connecting and answering take this long each, at most.
_CACHE_TIMEOUT_S: Final = 0.025


def mongo_database(
    settings: Settings,
    *,
    selection_timeout_s: float = 3.0,
    answer_timeout_s: float = 2.5,
    observe: Observe | None = None,
) -> Database[dict[str, Any]]:
    """Return the deployment's database.

    Writes are acknowledged as the URL says; collections that must not lose any ask for majority.

    Args:
        selection_timeout_s: how long a call waits while no server is known to be up.
        answer_timeout_s: how long a server that took a call may take to answer.
        observe: called with each command's time.
    """
    url = settings.mongo_url.get_secret_value()
    tls_files = {
        "tlsCAFile": settings.mongo_tls_ca_file,
        "tlsCertificateKeyFile": settings.mongo_tls_cert_file,
    }
    tls: dict[str, Any] = {name: str(path) for name, path in tls_files.items() if path}
    if not settings.tls_verify and ("tls=true" in url or url.startswith("mongodb+srv")):
        tls["tlsAllowInvalidCertificates"] = True
    client: MongoClient[dict[str, Any]] = MongoClient(
        url,
        **tls,
        appname="aether",
        event_listeners=[ObservedMongo(observe)] if observe else [],
        connect=False,
        tz_aware=True,
        retryWrites=True,
        maxPoolSize=100,
        maxIdleTimeMS=60_000,
        serverSelectionTimeoutMS=int(selection_timeout_s * 1000),
        connectTimeoutMS=3_000,
        waitQueueTimeoutMS=2_000,
        # The driver tries twice: a call that a server took and does not answer ends after twice it.
        # Its timeoutMS would say so itself, but makes it ignore serverSelectionTimeoutMS.
        socketTimeoutMS=int(answer_timeout_s * 1000),
    )
    return client[settings.mongo_database]


def redis_client(
    settings: Settings,
    *,
    name: str = "aether",
    answer_timeout_s: float = 15.0,
    observe: Observe | None = None,
) -> Redis:
    """Return a client whose commands are sent once: a repeat could be a second effect.

    Args:
        name: what `CLIENT LIST` shows for its connections.
        observe: called with each command's time.
    """
    return _redis(
        settings,
        name,
        observe=observe,
        max_connections=100,
        answer_timeout_s=answer_timeout_s,
        connect_timeout_s=min(3.0, answer_timeout_s),
    )


def redis_probe(settings: Settings) -> Redis:
    """Return a client for `is_redis_up`, which gives up within a second."""
    return _redis(
        settings,
        "aether-probe",
        max_connections=2,
        answer_timeout_s=_PROBE_TIMEOUT_S,
        connect_timeout_s=_PROBE_TIMEOUT_S,
    )


def cache_redis_client(settings: Settings) -> Redis:
    """Return a client for the cache, whose every wait ends within 50 ms."""
    return _redis(
        settings,
        "aether-cache",
        url=settings.cache_redis_url,
        max_connections=100,
        answer_timeout_s=_CACHE_TIMEOUT_S,
        connect_timeout_s=_CACHE_TIMEOUT_S,
    )


def _redis(
    settings: Settings,
    name: str,
    *,
    url: SecretStr | None = None,
    observe: Observe | None = None,
    max_connections: int,
    answer_timeout_s: float,
    connect_timeout_s: float,
) -> Redis:
    address = (url or settings.redis_url).get_secret_value()
    # A socket has no connection to keep alive, and is there at once or not at all.
    socket_options: dict[str, Any] = (
        {}
        if address.startswith("unix:")
        else {
            "socket_connect_timeout": connect_timeout_s,
            "socket_keepalive": True,
        }
    )
    pool = BlockingConnectionPool.from_url(
        address,
        **redis_tls(address, settings),
        **socket_options,
        client_name=name,
        max_connections=max_connections,
        timeout=min(2.0, connect_timeout_s),
        socket_timeout=answer_timeout_s,
        health_check_interval=25,
        # redis-py repeats a command three times unless told otherwise.
        retry=Retry(NoBackoff(), 0),
        # RESP3 brings push messages that nobody here reads, and costs no less.
        protocol=2,
    )
    if observe is None:
        return Redis(connection_pool=pool)
    client = ObservedRedis(connection_pool=pool)
    client.observe = observe
    return client


def is_mongo_up(database: Database[dict[str, Any]]) -> bool:
    """Say within a second whether MongoDB answers."""
    try:
        with pymongo.timeout(_PROBE_TIMEOUT_S):
            database.client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def is_redis_up(probe: Redis) -> bool:
    """Say whether Redis answers; a `redis_probe` keeps it within a second."""
    try:
        return bool(probe.ping())
    except RedisError:
        return False


def close_all(database: Database[dict[str, Any]], *clients: Redis) -> None:
    """Close every connection; without it a process may wait for MongoDB's monitors at its end."""
    database.client.close()
    for client in clients:
        client.connection_pool.disconnect()
