"""How gunicorn serves the API: `gunicorn -c python:web.gunicorn_conf 'web.app:create_app()'`."""

from __future__ import annotations

import gevent
from gevent import monkey

monkey.patch_all()

# Everything below has to find the patched standard library.
from typing import TYPE_CHECKING, Any  # noqa: E402

from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # noqa: E402

from core.settings import read_settings  # noqa: E402
from monitoring.logs import configure_logs  # noqa: E402
from web.services import EXTENSION  # noqa: E402

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker  # type: ignore[import-untyped]

    from web.services import WebServices

_settings = read_settings()


class JsonLogger(Logger):  # type: ignore[misc]
    """Hands gunicorn's own lines to Aether's log."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        configure_logs(_settings.log_level, "api")


bind = f"{_settings.host}:{_settings.port}"
workers = _settings.api_processes
worker_class = "gevent"
#: Open streams and waiting polls each hold one.
worker_connections = 1000
#: An import before the fork would share what must not be shared, MongoDB's client above all.
preload_app = False
max_requests = 0
graceful_timeout = 30
#: Longer than a proxy in front keeps its end of an idle connection.
keepalive = 75
accesslog = None
logger_class = JsonLogger


def post_worker_init(worker: Worker) -> None:
    """Ready the database as soon as the application is there, and watch for the end."""
    services = worker.wsgi.extensions[EXTENSION]
    services.prepare()
    gevent.spawn(_drain_when_stopping, worker, services)


def _drain_when_stopping(worker: Worker, services: WebServices) -> None:
    """End open streams as soon as the worker is told to stop, which has no hook of its own."""
    while worker.alive:
        gevent.sleep(0.2)
    services.drain()


def worker_exit(_server: Any, worker: Worker) -> None:
    """Let the process end without waiting for a database that may be away."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.extensions[EXTENSION].close()
