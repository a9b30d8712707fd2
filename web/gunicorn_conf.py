"""How gunicorn serves the API: `gunicorn -c python:web.gunicorn_conf 'web.app:create_app()'`."""

from __future__ import annotations

import gevent
from gevent import monkey

monkey.patch_all()

# Everything below must import the patched standard library.
import sys  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # noqa: E402

from core.start import settings_or_exit  # noqa: E402
from monitoring.logs import configure_logs  # noqa: E402
from storage.format import OtherFormat  # noqa: E402
from web.admission import MAX_CONNECTIONS  # noqa: E402
from web.file_limit import raise_file_limit  # noqa: E402
from web.gunicorn_worker import SPARE_CONNECTIONS  # noqa: E402
from web.services import APP_LOAD_ERROR, EXTENSION  # noqa: E402

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker  # type: ignore[import-untyped]

    from web.services import WebServices

_settings = settings_or_exit("api")


class JsonLogger(Logger):  # type: ignore[misc]
    """Sends gunicorn's own lines to Aether's log."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        configure_logs(_settings.log_level, "api")


bind = f"{_settings.host}:{_settings.port}"
workers = _settings.api_processes
worker_class = "web.gunicorn_worker.BoundedWorker"
#: Each open stream and each waiting poll holds one.
worker_connections = MAX_CONNECTIONS + SPARE_CONNECTIONS
raise_file_limit(worker_connections)
#: Importing before the fork would share connections between processes, MongoDB's above all.
preload_app = False
max_requests = 0
graceful_timeout = 30
#: Longer than a proxy in front keeps an idle connection open.
keepalive = 75
#: A socket in the home directory, which all stacks of a user would share.
control_socket_disable = True
accesslog = None
logger_class = JsonLogger


def post_worker_init(worker: Worker) -> None:
    """Refuse stores of another format, and watch for the worker's end."""
    services = worker.wsgi.extensions[EXTENSION]
    try:
        services.format_watch.start()
    except OtherFormat as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(APP_LOAD_ERROR) from None
    services.metrics.loop.start()
    gevent.spawn(_drain_when_stopping, worker, services)


def _drain_when_stopping(worker: Worker, services: WebServices) -> None:
    """End open streams when the worker is told to stop; gunicorn has no hook for that moment."""
    while worker.alive:
        gevent.sleep(0.2)
    services.drain()


def worker_exit(_server: Any, worker: Worker) -> None:
    """Close connections, so that the process ends without waiting for a server that is away."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.extensions[EXTENSION].close()
