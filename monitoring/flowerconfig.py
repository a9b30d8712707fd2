"""Flower's options: behind a password, and only to look at.

Flower runs this file and takes over every name that is one of its options.
"""

from __future__ import annotations

import hashlib

from flower.views.monitor import Metrics
from tornado.web import authenticated

from core.start import settings_or_exit

_settings = settings_or_exit("flower")
_password = _settings.flower_password.get_secret_value()
if not _password:
    raise ValueError("AETHER_FLOWER_PASSWORD is missing; Flower's pages are open without it")

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
