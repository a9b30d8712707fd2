"""`python -m tests.connect_all`: reaches every server by every program's own way, as the
environment says, and prints a JSON object of what each answered."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

from flower.utils.broker import Broker
from redbeat.schedulers import get_redis

from core.settings import read_settings
from storage.connections import cache_redis_client, is_mongo_up, mongo_database, redis_client
from workers.app import celery_app


def _broker() -> bool:
    with celery_app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        channel = connection.channel()
        return type(channel).__name__ == "GuardedChannel"


def _flower() -> bool:
    conf = celery_app.conf
    broker = Broker(
        celery_app.connection_for_read().as_uri(include_password=True),
        broker_options=conf.broker_transport_options,
        broker_use_ssl=conf.broker_use_ssl,
    )
    return bool(asyncio.run(broker.queues(["chat.run"])))


def main() -> None:
    settings = read_settings()
    ways: dict[str, Callable[[], object]] = {
        "api": lambda: redis_client(settings).ping(),
        "cache": lambda: cache_redis_client(settings).ping(),
        "broker": _broker,
        "backend": lambda: celery_app.backend.client.ping(),
        "beat": lambda: get_redis(celery_app).ping(),
        "flower": _flower,
        "mongo": lambda: is_mongo_up(mongo_database(settings)),
    }
    answers = {}
    for name in sys.argv[1:] or ways:
        try:
            answers[name] = "reached" if ways[name]() else "not reached"
        except Exception as error:
            answers[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(f"{json.dumps(answers)}\n")


if __name__ == "__main__":
    main()
