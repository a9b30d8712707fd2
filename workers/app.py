"""The Celery application; importing it connects to nothing."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.transport import TRANSPORT_ALIASES

from core.start import settings_or_exit
from core.strays import is_stray
from monitoring.logs import configure_logs

# Celery and Flower read them after this import, and would let them override our settings.
for _name in filter(is_stray, tuple(os.environ)):
    del os.environ[_name]
for _scheme in ("redis", "rediss"):
    TRANSPORT_ALIASES[_scheme] = "workers.celery_guards:GuardedTransport"
celery_app = Celery("aether", include=["workers.tasks"])
celery_app.config_from_object("celeryconfig")


@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    configure_logs(settings_or_exit().log_level, service="worker")
