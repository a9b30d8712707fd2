"""Health checks for containers; the exit status is 0 for healthy, else 1.

`python -m ops.stack.probe api|worker|upkeep|beat|flower`

The worker checked is the one that runs on this host as `-n worker@%h`, or `-n upkeep@%h`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from core.settings import Settings, read_settings
from ops.stack.readiness import http_answers

_TIMEOUT_S: Final = 3.0


def api_is_healthy(settings: Settings) -> bool:
    return http_answers(f"http://127.0.0.1:{settings.port}/readyz")


def flower_is_healthy(settings: Settings) -> bool:
    return http_answers(f"http://127.0.0.1:{settings.flower_port}/healthcheck")


def worker_is_healthy(name: str) -> bool:
    """Ping the worker `name` of this host over the broker."""
    from workers.app import celery_app

    address = f"{name}@{socket.gethostname()}"
    answers: list[dict[str, Any]] = celery_app.control.ping([address], timeout=_TIMEOUT_S)
    return bool(answers)


def beat_is_healthy(settings: Settings) -> bool:
    """Return whether a beat holds the schedule's lock, which it renews about every second."""
    from workers.app import celery_app

    lock = f"{celery_app.conf.redbeat_key_prefix}:lock"
    url = settings.redis_url.get_secret_value()
    with Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) as redis:
        try:
            return bool(redis.exists(lock))
        except RedisError:
            return False


def main() -> int:
    settings = read_settings()
    checks: dict[str, Callable[[], bool]] = {
        "api": lambda: api_is_healthy(settings),
        "worker": lambda: worker_is_healthy("worker"),
        "upkeep": lambda: worker_is_healthy("upkeep"),
        "beat": lambda: beat_is_healthy(settings),
        "flower": lambda: flower_is_healthy(settings),
    }
    return 0 if checks[sys.argv[1]]() else 1


if __name__ == "__main__":
    sys.exit(main())
