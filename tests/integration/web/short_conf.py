"""gunicorn's settings of the API with deadlines and bounds that a test can reach."""

from __future__ import annotations

from web import gunicorn_worker as worker
from web.gunicorn_conf import *  # noqa: F403

worker._FIRST_S = 1.0
worker._WHOLE_S = 1.5
worker._SILENT_S = 0.7
worker.MAX_CONNECTIONS = 8  # type: ignore[attr-defined]
worker_connections = 40
