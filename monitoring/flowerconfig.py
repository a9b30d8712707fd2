"""Flower's options: behind a password, and only to look at.

Flower runs this file and takes over every name that is one of its options.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from flower.utils.broker import RedisBase
from flower.views.monitor import Metrics
from tornado.web import authenticated

from core.start import settings_or_exit

_settings = settings_or_exit("flower")
_password = _settings.flower_password.get_secret_value()
if not _password:
    raise ValueError("AETHER_FLOWER_PASSWORD is missing; Flower's pages are open without it")

# Celery has taken the working directory off the path again.
sys.path.append(str(Path(__file__).parents[1]))


@cache
def _read_waiting() -> Callable[[], dict[str, int]]:
    from storage.connections import redis_probe
    from storage.jobs.overview import Overview

    return Overview(redis_probe(_settings)).waiting


async def _jobs_that_wait(_: RedisBase, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return for each queue how many jobs or slots wait; its messages only wake workers."""
    waiting = await asyncio.to_thread(_read_waiting())
    return [
        {"name": name, "messages": waiting.get(name.removeprefix("chat."), 0)} for name in names
    ]


RedisBase.queues = _jobs_that_wait
# Flower asks for the password on every page but this one, which names workers and tasks.
Metrics.get = authenticated(Metrics.get)

address = _settings.flower_host
port = _settings.flower_port
basic_auth = [f"{_settings.flower_user}:{_password}"]
#: Otherwise random at every start, which logs everyone out.
cookie_secret = hashlib.sha256(f"flower cookies {_password}".encode()).hexdigest()
read_only = True
max_tasks = 10_000
#: The workers of the chat send events by themselves; upkeep's would push theirs out of the list.
enable_events = False
purge_offline_workers = 3_600
tasks_columns = "name,uuid,state,received,started,runtime,worker"
